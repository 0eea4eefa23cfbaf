"""Connected correlators of outputs and tangent kernel at order 1/M: the tensors V, D, F, A and B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcnet.activations import Activation
from mcnet.programs.names import ProgramError
from mcnet.programs.parameters import Network
from mcnet.theory.program.expansions import Plan
from mcnet.theory.program.finite_width import SIGNAL, TWO_OUTPUTS
from mcnet.theory.program.limits import checked_gram, laws_of, parameters_of, row_axes
from mcnet.theory.program.runs import Program, Settled

Floats = NDArray[np.float64]
NAMES = ("V", "D", "F", "A", "B")


@dataclass(frozen=True)
class Cumulants:
    """The tensors, each of shape (T, T, T, T), as :func:`cumulants` defines them; ``errors`` by name."""

    V: Floats
    D: Floats
    F: Floats
    A: Floats
    B: Floats
    errors: Mapping[str, Floats]


def cumulants(
    network: Network,
    matrices: Mapping[Any, Sequence[Any]],
    gram: ArrayLike,
    *,
    activation: str | Mapping[str, Any] | Activation | None = None,
    weights: str = "gaussian",
    axes: Mapping[str, int] | None = None,
    parameters: Mapping[str, Any] | None = None,
    parameterization: str = "ntk",
    train_biases: bool = True,
    sites: int = 2**16,
    seed: int = 0,
) -> Cumulants:
    """Leading connected correlators of the outputs f and the tangent kernel Theta.

    Parameters
    ----------
    network, matrices, gram, activation, weights, axes, parameters, sites, seed
        As :func:`mcnet.theory.program.expansion`; outputs have no rows beside the inputs.
    parameterization : {"ntk", "pdlt", "standard"}
        Of the kernel; with ``standard`` that of Theta/M.
    train_biases : bool

    Returns
    -------
    Cumulants

    Raises
    ------
    ProgramError
        If the program is wrong, or has an operation that is not covered.

    Notes
    -----
    With outputs i, j, k, l and inputs a, b, c, d, and connected means over networks of width M,

        M E[f_ia f_jb f_kc f_ld]          = d_ij d_kl V_(ab)(cd) + d_ik d_jl V_(ac)(bd) + d_il d_jk V_(ad)(bc)
        M E[f_ia f_jb Theta_kl,cd]        = d_ij d_kl D_abcd + d_ik d_jl F_acbd + d_il d_jk F_adbc
        M E[Theta_ij,ab Theta_kl,cd]      = d_ij d_kl A_(ab)(cd) + d_ik d_jl B_acbd + d_il d_jk B_adbc

    at leading order (Roberts, Yaida, Hanin 2022, sections 4.3 and 8.2; there n is M, and lambda_W = lambda_b = 1 is
    ``pdlt``). V and D are covariances with S_ab = sigma_w2 q_hat^L_ab + sigma_b2, the covariance of the outputs given
    the hidden layers; A is that of the kernels of two outputs, B that of the kernel between them. F = E f_1a f_2b
    Theta_12,cd is the limit of the kernel with the last hidden layer in place of weights of the readout. For one input
    and one output Var Theta = (A + 2B)/M.

    Accuracy: as :func:`mcnet.theory.program.expansion`, with ``errors`` where points are sampled.
    """
    inputs = checked_gram(gram)
    rows = row_axes(len(inputs), axes)
    p = parameters_of(activation, weights, {**(parameters or {}), "outputs": 1})
    whole = Program(network, p, laws_of(matrices, p), inputs, rows)
    pairs = Plan(whole, sites, seed, None, TWO_OUTPUTS).runs(True)
    signals = Plan(whole, sites, seed, None, SIGNAL, expanded=False).runs(True)
    found = [_covariances(run, parameterization, train_biases) for run in pairs]
    values = {name: np.array([one[name] for one in found]) for name in ("V", "D", "A", "B")}
    values["F"] = np.array([_crossed(run, parameterization, train_biases) for run in signals])
    return Cumulants(
        **{name: values[name].mean(axis=0) for name in NAMES},
        errors={name: _error(values[name]) for name in NAMES},
    )


def _covariances(run: Settled, parameterization: str, train_biases: bool) -> dict[str, Floats]:
    """V, D, A and B of a run with two outputs."""
    if run.outputs is None:
        raise ProgramError("cumulants: the readout is asked more than once; ask it for the outputs alone")
    theta, noise = run.kernel(parameterization, train_biases), run.noise
    count = theta.shape[0] // 2
    place = np.arange(theta.value.size).reshape(count, 2, count, 2)
    first, second, cross = (theta.taken(place[:, i, :, j].ravel()) for i, j in ((0, 0), (1, 1), (0, 1)))
    shape = (count, count, count, count)
    between = noise.between(cross.response, cross.response).reshape(shape)  # a, b, c, d
    return {
        "V": noise.between(run.outputs.response, run.outputs.response).reshape(shape),
        "D": noise.between(run.outputs.response, first.response).reshape(shape),
        "A": noise.between(first.response, second.response).reshape(shape),
        "B": between.transpose(0, 2, 1, 3),
    }


def _crossed(run: Settled, parameterization: str, train_biases: bool) -> Floats:
    """F of a run that begins at the signal."""
    theta = run.kernel(parameterization, train_biases).value
    count = round(len(theta) ** 0.5)
    return np.asarray(theta.reshape(count, count, count, count).transpose(1, 0, 3, 2))  # rows (c, a), (d, b)


def _error(values: Floats) -> Floats:
    if len(values) == 1:
        return np.zeros_like(values[0])
    return np.asarray(values.std(axis=0, ddof=1) / len(values) ** 0.5)
