"""The tangent kernel of networks in training, and what bounds their learning rate.

The curvature of the loss along the parameters is F = (1/T) J^T Q J, Q the identity (squared) or diag p - p p^T
(softmax). Its non-zero eigenvalues are those of the dual (1/T) A^T Theta A with Q = A A^T, where at each input
A = diag sqrt(p) - p sqrt(p)^T (Karakida, Akaho, Amari 2021, Neural Computation 33). Output k of input t is row k T + t.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mcnet.backend import Backend
from mcnet.networks import tangent
from mcnet.training import losses
from mcnet.training.networks import Networks

Array = Any
Floats = NDArray[np.float64]

MOST_OUTPUTS = 1024
"""Outputs times training inputs up to which kernels are made."""


class Kernels(NamedTuple):
    """Of N networks.

    Attributes
    ----------
    theta : ndarray, shape (N, C T, C T)
        The tangent kernel.
    curvature : ndarray, shape (N, C T, C T)
        Its eigenvalues are those of F.
    f : ndarray, shape (N, C T)
        The outputs.
    """

    theta: Floats
    curvature: Floats
    f: Floats

    def sharpness(self) -> Floats:
        """The largest eigenvalue of F, (N,); NaN where the kernel is not finite."""
        there, finite = self._finite()
        return np.where(there, np.linalg.eigvalsh(finite)[:, -1], np.nan)

    def top(self) -> Floats:
        """Its eigenvector among outputs and inputs, (N, C T); NaN where the kernel is not finite."""
        there, finite = self._finite()
        return np.where(there[:, None], np.linalg.eigh(finite)[1][:, :, -1], np.nan)

    def _finite(self) -> tuple[NDArray[np.bool_], Floats]:
        """Where the curvature is finite, (N,), and the curvature with zeros where it is not."""
        there = np.asarray(np.isfinite(self.curvature).all(axis=(1, 2)))
        return there, np.where(there[:, None, None], self.curvature, 0.0)


def kernels(networks: Networks, x: Array, loss: str) -> Kernels:
    """Of networks as they are now, on training inputs (N or 1, T, sites M_0)."""
    backend, xp = networks.ensemble.backend, networks.ensemble.backend.xp
    model, placed = networks.model, networks.placed(x)
    trace = networks.forward(placed, backward=True, one_functional=False)
    f = trace.outputs  # (N, C, T)
    theta: Array = trace.backward(model.scaling, families=()).kernel
    if model.bare is not None:
        theta = tangent.normalized(backend, theta, f, model.normalization)
        f = networks.forward(placed, backward=False).outputs
    count, _, inputs = f.shape
    theta = xp.broadcast_to(theta, (count, *theta.shape[1:]))
    curvature = theta / inputs
    if loss == "softmax":
        curvature = of_softmax(backend, curvature, f)
    flat = xp.reshape(f, (f.shape[0], -1))
    return Kernels(*(np.asarray(backend.fetch(part)) for part in (theta, curvature, flat)))


def of_softmax(backend: Backend, curvature: Array, f: Array) -> Array:
    """A^T (Theta/T) A of networks with outputs ``f``, (N, C, T), from Theta/T, (N, C T, C T)."""
    xp, (_, outputs, inputs) = backend.xp, f.shape
    p = losses.probabilities(xp, f)
    root, eye = xp.sqrt(p), backend.place(np.eye(outputs))
    a = root[:, :, None, :] * eye[None, :, :, None] - p[:, :, None, :] * root[:, None, :, :]  # (N, C, C', T)
    a = a[..., None] * backend.place(np.eye(inputs))  # (N, C, C', T, T')
    a = xp.reshape(xp.permute_dims(a, (0, 1, 3, 2, 4)), curvature.shape)
    return xp.matmul(xp.matmul(xp.matrix_transpose(a), curvature), a)
