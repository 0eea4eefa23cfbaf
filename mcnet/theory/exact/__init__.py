"""Laws that hold at every width."""

from mcnet.theory.exact.characteristic import (
    characteristic_polynomial,
    characteristic_zeros,
    free_product,
    jacobian_elementary,
    log_jacobian_elementary,
)
from mcnet.theory.exact.convolution import (
    GramMoments,
    linear_convolution_grams,
    linear_convolution_spread,
    relu_convolution_lengths,
)
from mcnet.theory.exact.recurrent import linear_lyapunov, tied_linear_length
from mcnet.theory.exact.residual import linear_residual_jacobian, relu_residual_gradients, relu_residual_lengths

__all__ = [
    "GramMoments",
    "characteristic_polynomial",
    "characteristic_zeros",
    "free_product",
    "jacobian_elementary",
    "linear_convolution_grams",
    "linear_convolution_spread",
    "linear_lyapunov",
    "linear_residual_jacobian",
    "log_jacobian_elementary",
    "relu_convolution_lengths",
    "relu_residual_gradients",
    "relu_residual_lengths",
    "tied_linear_length",
]
