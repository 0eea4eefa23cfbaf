"""What theory predicts: pure functions of numbers in float64, without randomness and files."""
