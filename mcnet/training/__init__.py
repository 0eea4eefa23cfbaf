"""Training of programs near initialisation: one trainer, matrices built or asked."""
