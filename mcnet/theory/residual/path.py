"""Lengths and gradients of one input through residual blocks, at infinite width."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mcnet.theory import gaussian
from mcnet.theory.gaussian import Floats
from mcnet.theory.residual.block import Block


class Signal(NamedTuple):
    """One input through ``depth`` equal blocks.

    Attributes
    ----------
    length : ndarray, shape (depth + 1,)
        ``|h|^2/M`` of the stream (x for ``pre``), the first state included.
    mean : ndarray, shape (depth + 1,)
        Mean of the entries of the stream; the length depends on it in ``post``.
    q : ndarray, shape (depth,)
        Variance of the pre-activations.
    chi : ndarray, shape (depth,)
        Factor of the squared gradient, one block back.
    """

    length: Floats
    mean: Floats
    q: Floats
    chi: Floats


def signal(block: Block, length_0: float, depth: int, mean_0: float = 0.0) -> Signal:
    """Lengths and gradient factors through equal blocks.

    Parameters
    ----------
    block : Block
    length_0 : float
        ``|h^0|^2/M``.
    depth : int
        Number of blocks.
    mean_0 : float
        Mean of the entries of h^0.

    Notes
    -----
    With S the variance of the pre-activations and R the length of the branch,

        K' = a^2 K + 2 a s m f + s^2 R ,    m' = a m + s f ,    f = E phi   (``post``; f = 0 for the others) ,
        chi = a^2 + s^2 sigma_w2 [sigma_v2] E phi'^2 .

    Accuracy: the limit M -> infinity; 1e-13 a block.
    """
    phi, a, s = block.phi, block.skip, block.branch
    scale = gaussian.feature_scale(phi)
    lengths, means, variances, chi = [length_0], [mean_0], [], []
    for _ in range(depth):
        k, m = lengths[-1], means[-1]
        q = float(block.variance(k))
        f = float(gaussian.mean(phi.phi, q, phi.kinks, scale)) if block.kind == "post" else 0.0
        lengths.append(a * a * k + 2.0 * a * s * m * f + s * s * float(block.branch_length(gaussian.square(phi, q))))
        means.append(a * m + s * f)
        variances.append(q)
        chi.append(a * a + s * s * block.gain * float(gaussian.derivative_square(phi, q)))
    return Signal(np.array(lengths), np.array(means), np.array(variances), np.array(chi))
