"""Free probability: spectra of products of random matrices at infinite width."""
