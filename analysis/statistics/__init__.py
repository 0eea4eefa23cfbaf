"""Estimates with errors, fits in 1/M, the verdict, distances of spectra."""
