"""Networks as programs: one function of questions to random matrices, and the interpretations of it."""
