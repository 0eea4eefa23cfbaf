"""Residual networks at infinite width: laws of large depth, small branches, and moments of the Jacobian.

Blocks, with skip a and branch s (Yang, Schoenholz 2017; He et al. 2016):

    post:  h' = a h + s phi(W h + b)
    pre:   x' = a x + s (W phi(x) + b)            x^0 Gaussian over the units
    two:   h' = a h + s (V phi(W h + b) + c)      V of variance sigma_v2/M, c of sigma_c2
"""

from mcnet.theory.residual.block import Block
from mcnet.theory.residual.depth import CorrelationLaw, correlation_law, gradient_rate, length_rate
from mcnet.theory.residual.jacobian import JacobianMoments, block_moments, jacobian_moments, network_moments
from mcnet.theory.residual.path import Signal, signal
from mcnet.theory.residual.small_branch import Flow, flow

__all__ = [
    "Block",
    "CorrelationLaw",
    "Flow",
    "JacobianMoments",
    "Signal",
    "block_moments",
    "correlation_law",
    "flow",
    "gradient_rate",
    "jacobian_moments",
    "length_rate",
    "network_moments",
    "signal",
]
