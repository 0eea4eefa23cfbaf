"""Laws that hold at every width."""

from mcnet.theory.exact.characteristic import (
    characteristic_polynomial,
    characteristic_zeros,
    free_product,
    jacobian_elementary,
    log_jacobian_elementary,
)

__all__ = [
    "characteristic_polynomial",
    "characteristic_zeros",
    "free_product",
    "jacobian_elementary",
    "log_jacobian_elementary",
]
