"""Reads datasets of mcnet and judges them against theory: errors, fits in 1/M, comparisons, figures, reports."""
