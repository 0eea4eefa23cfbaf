"""Training near initialisation at infinite width: one linearised network, the ensemble, and the catapult.

The loss is ``(1/2T) sum_t |f(t) - y(t)|^2`` everywhere, so a step of gradient descent changes the outputs by
``-(eta/T) Theta (f - y)`` and the stability bound is ``eta < 2 T / lambda_max(Theta)``. Matrices over inputs hold the T
training inputs first, then any test inputs. Mean predictions at the end of training without an ensemble:
:func:`mcnet.theory.tangent.regression`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet.theory import tangent
from mcnet.theory.gaussian import Floats


class Ensemble(NamedTuple):
    """Law of the outputs of trained networks over initialisations; rows: T training inputs, then S test inputs.

    Attributes
    ----------
    mean : ndarray, shape (T + S,) or (T + S, C)
    covariance : ndarray, shape (T + S, T + S)
        Of one output; different outputs are independent.
    """

    mean: Floats
    covariance: Floats


class Catapult(NamedTuple):
    """Trajectory of the two-layer linear network, steps first.

    Attributes
    ----------
    f : ndarray, shape (steps + 1, ...)
        Output.
    curvature : ndarray, shape (steps + 1, ...)
        lambda, the tangent kernel.
    """

    f: Floats
    curvature: Floats


def linearized(
    kernel: ArrayLike, f_0: ArrayLike, targets: ArrayLike, learning_rate: float, steps: int | ArrayLike
) -> Floats:
    """Outputs of a network that stays linear in its parameters, after gradient descent.

    Parameters
    ----------
    kernel : array_like, shape (T, T), (T + S, T) or (T + S, T + S)
        Tangent kernel between all inputs and the T training inputs; further columns are not used.
    f_0 : array_like, shape (T + S,) or (T + S, C)
        Outputs before training.
    targets : array_like, shape (T,) or (T, C)
    learning_rate : float
    steps : int, or array_like of int, shape (N,)
        Number of steps, >= 0.

    Returns
    -------
    ndarray, of the shape of f_0; with several numbers of steps shape (N, ...)

    Raises
    ------
    ValueError
        If shapes do not fit, or a number of steps is negative.

    Notes
    -----
    On the training inputs ``f_n = y + (1 - eta Theta/T)^n (f_0 - y)``, on the others

        f_n = f_0 + Theta_*X Theta^-1 [1 - (1 - eta Theta/T)^n] (y - f_0X) .

    Exact for the linear model at any learning rate. For networks, Theta is their own kernel at the start; they deviate
    by O(1/M) for smooth activations.

    References
    ----------
    Jacot, Gabriel, Hongler 2018, arXiv:1806.07572; Lee et al. 2019, arXiv:1902.06720.
    """
    start, y = np.asarray(f_0, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    theta = np.atleast_2d(np.asarray(kernel, dtype=np.float64))
    trained = len(np.atleast_1d(y))
    if start.shape[1:] != y.shape[1:] or theta.shape not in (
        (len(start), trained),
        (len(start), len(start)),
    ):
        raise ValueError(
            f"f_0 of shape {start.shape}, targets of shape {y.shape} and a kernel of shape {theta.shape} do not fit: "
            "f_0 has one row an input (training inputs first), the kernel one row an input, targets one row a "
            "training input"
        )
    square, cross = theta[:trained, :trained], theta[trained:, :trained]
    counts = np.atleast_1d(np.asarray(steps))
    out = tangent.gradient_descent(square, y, learning_rate, counts, start[:trained])
    if len(cross):
        new = tangent.gradient_descent(square, y, learning_rate, counts, start[:trained], cross, start[trained:])
        out = np.concatenate([out, new], axis=1)
    return out if np.ndim(steps) else out[0]


def ensemble(ntk: ArrayLike, nngp: ArrayLike, targets: ArrayLike, time: float) -> Ensemble:
    """Mean and covariance over networks of the outputs along gradient flow, at infinite width.

    Parameters
    ----------
    ntk, nngp : array_like, shape (T + S, T + S)
        Tangent kernel, and covariance of the outputs before training, over the training and then the test inputs.
    targets : array_like, shape (T,) or (T, C)
    time : float
        Learning rate times the number of steps; ``inf`` for the end of training.

    Returns
    -------
    Ensemble

    Raises
    ------
    ValueError
        If shapes do not fit, time is negative, a kernel has negative eigenvalues, or time is inf and the tangent
        kernel of the training inputs is singular to rounding.

    Notes
    -----
    From f_0 ~ N(0, K), with the rows of A over all inputs,

        A = Theta_.X Theta_XX^-1 [1 - exp(-time Theta_XX/T)] ,    f = f_0 + A (y - f_0X) ,
        mean = A y ,    covariance = K - A K_X. - K_.X A^T + A K_XX A^T .

    At time = inf the mean is ridgeless kernel regression. The law is not the posterior of a Gaussian process, unless
    only the readout is trained (Theta = K). Discrete steps differ by O(eta lambda). Means over networks of width M
    differ by O(1/M).

    References
    ----------
    Lee et al. 2019, arXiv:1902.06720.
    """
    y = np.asarray(targets, dtype=np.float64)
    theta, k = (_symmetric(matrix, name) for matrix, name in ((ntk, "ntk"), (nngp, "nngp")))
    trained = len(np.atleast_1d(y))
    if theta.shape != k.shape or len(theta) < trained:
        raise ValueError(
            f"ntk of shape {theta.shape} and nngp of shape {k.shape} must both cover the {trained} training inputs "
            "and the same test inputs"
        )
    if not time >= 0.0:
        raise ValueError(f"time must be >= 0, got {time}")
    values, vectors = np.linalg.eigh(theta[:trained, :trained])
    rounding = 10 * np.finfo(float).eps * trained * values[-1]
    if values[0] < -rounding:
        raise ValueError(f"ntk has a negative eigenvalue, {values[0]:.3g}: it is no tangent kernel")
    values = np.where(values > rounding, values, 0.0)
    if math.isinf(time):
        if values[0] == 0.0:
            raise ValueError(
                "the tangent kernel of the training inputs is singular to rounding, so training never ends: "
                "drop repeated inputs, or give a finite time"
            )
        learned = np.ones_like(values)
    else:
        learned = -np.expm1(-time / trained * values)
    divided = np.where(values > 0.0, learned / np.where(values > 0.0, values, 1.0), min(time, 1e300) / trained)
    response = np.concatenate(
        [(vectors * learned) @ vectors.T, (theta[trained:, :trained] @ vectors * divided) @ vectors.T]
    )  # A, (T + S, T)
    kept = np.eye(len(theta))
    kept[:, :trained] -= response
    return Ensemble(response @ y, kept @ k @ kept.T)


def catapult(f_0: ArrayLike, lambda_0: ArrayLike, n: float, learning_rate: ArrayLike, steps: int) -> Catapult:
    """Gradient descent of the network ``f = v . u / sqrt(n)``, one input x = 1, target 0, loss f^2/2.

    Parameters
    ----------
    f_0 : float or array_like
        Output before training.
    lambda_0 : float or array_like
        Tangent kernel before training, ``(|u|^2 + |v|^2)/n``.
    n : float
        Width.
    learning_rate : float or array_like
        Broadcast against f_0 and lambda_0.
    steps : int

    Returns
    -------
    Catapult
        Infinite from the step on at which a diverging network leaves the range of floats.

    Raises
    ------
    ValueError
        If no network has such a start: ``|f_0| <= sqrt(n) lambda_0 / 2`` always.

    Notes
    -----
    Exact at any width n, two numbers in place of the network:

        f' = f (1 - eta lambda + eta^2 f^2/n) ,   lambda' = lambda + (eta f^2/n)(eta lambda - 4) .

    In kappa = eta lambda and phi = eta f/sqrt(n) no n is left: it only sets phi_0 = O(n^(-1/2)). For wide networks
    kappa_0 < 2 converges without a change of lambda, 2 < kappa_0 < 4 ends at a flatter point (the catapult, with a
    peak loss of order n after ``ln n / (2 ln(kappa_0 - 1))`` steps), kappa_0 > 4 diverges. The loss of the first step
    falls if ``kappa_0 < 2 + phi_0^2``. For u, v ~ N(0, 1): ``n lambda_0 +- 2 sqrt(n) f_0`` are independent, each twice
    a chi-square variable of n degrees of freedom.

    References
    ----------
    Lewkowycz, Bahri, Dyer, Sohl-Dickstein, Gur-Ari 2020, arXiv:2003.02218.
    """
    f, curvature, rate = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (f_0, lambda_0, learning_rate)))
    if not n > 0 or steps < 0:
        raise ValueError(f"n must be positive and steps >= 0, got n = {n}, steps = {steps}")
    if not np.all(2.0 * np.abs(f) <= math.sqrt(n) * curvature * (1.0 + 1e-12)):
        raise ValueError("no network starts so: |f_0| <= sqrt(n) lambda_0 / 2 for every u and v")
    outputs, curvatures = [f], [curvature]
    for _ in range(steps):
        with np.errstate(over="ignore", invalid="ignore"):
            square = (rate * f) * (f / n)  # eta f^2/n
            f, curvature = f * (1.0 - rate * curvature + rate * square), curvature + square * (rate * curvature - 4.0)
        lost = ~(np.isfinite(f) & np.isfinite(curvature))
        f, curvature = np.where(lost, math.inf, f), np.where(lost, math.inf, curvature)
        outputs.append(f)
        curvatures.append(curvature)
    return Catapult(np.array(outputs), np.array(curvatures))


def _symmetric(matrix: ArrayLike, name: str) -> Floats:
    out = np.atleast_2d(np.asarray(matrix, dtype=np.float64))
    if out.ndim != 2 or out.shape[0] != out.shape[1] or not np.allclose(out, out.T, rtol=1e-9, atol=0.0):
        raise ValueError(f"{name} must be a symmetric matrix, got shape {out.shape}")
    return out
