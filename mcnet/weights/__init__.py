"""Weight matrices of one interface, built or asked: ``apply`` and ``apply_transpose``, batched over networks."""
