"""Measurement beside prediction: comparisons, coefficients, spectra."""
