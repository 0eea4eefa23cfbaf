"""Questions and answers of the matrices of a program, and what they tell of its weights.

For a matrix W let x_a be its questions (all asks, all rows) and g_a^q the cotangents of its answers for functional q.

    tangent kernel    Theta_qq' = sum_W sum_ab (g_a^q . g_b^q') F_ab,    F_ab = alpha_W x_a . x_b + beta_W
    gradient          of sum_q v_q f_q:  alpha_W sum_a w_a x_a^T,  beta_W sum_a w_a,      w_a = sum_q v_q g_a^q

No array of the size of W is made (Jacot et al. 2018 for the kernel; the sum over pairs of questions of one matrix is
what weight sharing adds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mcnet.backend import Backend
from mcnet.programs import rows
from mcnet.programs.names import ProgramError
from mcnet.programs.parameters import Law
from mcnet.programs.passes import powers
from mcnet.programs.tape import Vector

Array = Any

PARAMETERIZATIONS = ("standard", "ntk", "pdlt")

BLOCK = 1 << 22
"""Entries of the products of cotangents that are made at a time."""


class AbstractParameterization(Protocol):
    """How weights are trained."""

    def scales_of(self, question: Question) -> tuple[float, float]:
        """(alpha, beta) of the matrix of a question."""
        ...

    def tap_weights(self, question: Vector) -> tuple[float, ...]:
        """Factors of the products of a question, one for each of its equal shares of units; empty for none."""
        ...


@dataclass(frozen=True)
class Parameterization:
    """How weights are trained.

    Attributes
    ----------
    name : str
        ``standard`` (parameters W, b): alpha = 1, beta = 1. ``ntk`` (W = sqrt(sigma_w2/fan) w, b = sqrt(sigma_b2)
        beta): sigma_w2/fan and sigma_b2. ``pdlt``: 1/fan and 1. In ``standard`` and ``pdlt`` the weights of a
        convolution are those of its taps, without the factors sqrt(variance) that the question carries.
    train_biases : bool
        Else beta = 0.
    """

    name: str
    train_biases: bool

    def scales(self, law: Law, fan: int) -> tuple[float, float]:
        """(alpha, beta) of a matrix."""
        scales = {"standard": (1.0, 1.0), "ntk": (law.sigma_w2 / fan, law.sigma_b2), "pdlt": (1.0 / fan, 1.0)}
        if self.name not in scales:
            raise ProgramError(f'parameterization "{self.name}" is not known ({", ".join(PARAMETERIZATIONS)})')
        alpha, beta = scales[self.name]
        return alpha, beta if self.train_biases else 0.0

    def scales_of(self, question: Question) -> tuple[float, float]:
        """(alpha, beta) of the matrix of a question."""
        return self.scales(question.law, question.question.fan)

    def tap_weights(self, question: Vector) -> tuple[float, ...]:
        """Factors of the products of a question, one for each of its equal shares of units; empty for none."""
        if self.name == "ntk" or not question.taps:
            return ()
        if min(question.taps) == 0.0:
            raise ProgramError(
                f'the parameterization "{self.name}" trains a tap of variance 0 too, of which a program sees nothing: '
                "leave the tap out"
            )
        return tuple(1.0 / share for share in question.taps)


@dataclass(frozen=True)
class Question:
    """One ask: matrix, question, answer.

    Attributes
    ----------
    key : tuple
        Name of the matrix.
    question, answer : Vector
    law : Law
    """

    key: Any
    question: Vector
    answer: Vector
    law: Law


def plain_question(
    backend: Backend, asked: Sequence[Question], inputs: int, weights: Sequence[float], mixing: bool
) -> Array:
    """Questions of one matrix, plain and float64: (N or 1, T, S, n), S rows of all asks; ``weights``: of taps.

    Where inputs are mixed, T = 1 and S counts the rows of all inputs.
    """
    xp = backend.xp
    parts = []
    for one in asked:
        x = rows.to_plain(xp, xp.astype(one.question.value, xp.float64))
        if mixing:
            parts.append(xp.reshape(x, (x.shape[0], 1, -1, x.shape[3])))
        else:
            parts.append(xp.broadcast_to(x, (x.shape[0], inputs, *x.shape[2:])))
    lead = max(part.shape[0] for part in parts)
    joined = xp.concat([xp.broadcast_to(part, (lead, *part.shape[1:])) for part in parts], axis=2)
    return joined if not weights else joined * spread(backend, [weight**0.5 for weight in weights], joined.shape[3])


def spread(backend: Backend, weights: Sequence[float], units: int) -> Array:
    """Weights of taps, each for its equal share of so many units: (units,), float64."""
    return backend.place(np.repeat(np.asarray(weights, np.float64), units // len(weights)))


def joined_cotangents(backend: Backend, parts: Sequence[tuple[Array, Array]], mixing: bool) -> tuple[Array, Array]:
    """Cotangents of all answers of one matrix, plain and float64: (N, K, T, S, m), and their exponents (N,)."""
    xp = backend.xp
    exponent = parts[0][1]
    for _, other in parts[1:]:
        exponent = xp.maximum(exponent, other)
    found = []
    for c, own in parts:
        wide = xp.astype(c, xp.float64)
        wide = xp.reshape(wide, (*wide.shape[:2], 1, -1, wide.shape[4])) if mixing else rows.to_plain(xp, wide)
        found.append(wide if own is exponent else wide * powers(xp, own - exponent, wide))
    lead = max(part.shape[0] for part in found)
    return xp.concat([xp.broadcast_to(part, (lead, *part.shape[1:])) for part in found], axis=3), exponent


def kernel_term(
    backend: Backend,
    asked: Sequence[Question],
    cotangents: Sequence[tuple[Array, Array]],
    how: AbstractParameterization,
    mixing: bool,
) -> Array:
    """What one matrix adds to the tangent kernel: (N, Q, Q), float64.

    Functional k of input t is row k T + t of it.
    """
    xp = backend.xp
    g, exponent = joined_cotangents(backend, cotangents, mixing)
    networks, functionals, inputs, sites, units = g.shape
    alpha, beta = how.scales_of(asked[0])
    x = plain_question(backend, asked, inputs, how.tap_weights(asked[0].question), mixing)
    x = xp.reshape(x, (x.shape[0], inputs * sites, x.shape[3]))
    f = alpha * xp.matmul(x, xp.matrix_transpose(x)) + beta
    f = f * xp.reshape(xp.pow(xp.full_like(exponent, 4.0), exponent), (-1, 1, 1))  # (N, T S, T S)
    if mixing:
        flat = xp.reshape(g, (networks, functionals, inputs * sites, units))
        moved = xp.matmul(f[:, None, :, :], flat)
        first, second = (xp.reshape(part, (part.shape[0], functionals, -1)) for part in (flat, moved))
        return xp.matmul(first, xp.matrix_transpose(second))
    f = xp.reshape(f, (-1, 1, inputs, sites, 1, inputs, sites))
    each = functionals * (inputs * sites) ** 2 * networks
    together = max(1, min(functionals, BLOCK // each))  # functionals on the left at a time
    flat = xp.reshape(g, (networks, functionals * inputs * sites, units))
    blocks = []
    for first in range(0, functionals, together):
        some = g[:, first : first + together, ...]
        count = some.shape[1]
        left = xp.reshape(some, (networks, count * inputs * sites, units))
        b = xp.matmul(left, xp.matrix_transpose(flat))
        b = xp.reshape(b, (networks, count, inputs, sites, functionals, inputs, sites)) * f
        if sites > 1:
            b = xp.sum(b, axis=(3, 6))
        blocks.append(xp.reshape(b, (b.shape[0], count * inputs, functionals * inputs)))
    return blocks[0] if len(blocks) == 1 else xp.concat(blocks, axis=1)


@dataclass(frozen=True)
class Gradient:
    """The gradient of one functional with respect to one matrix and its bias, as a sum of few products.

    Attributes
    ----------
    backend : Backend
    w : Array, shape (N, r, m)
        Cotangents of the answers, plain.
    x : Array, shape (N or 1, r, n)
        Questions, plain; with the weights of taps.
    alpha, beta : float
    """

    backend: Backend
    w: Array
    x: Array
    alpha: float
    beta: float

    def apply(self, x: Array, constants: Array) -> Array:
        """(alpha sum_a w_a x_a^T) x + beta sum_a w_a constant: (N or 1, R, n), (R,) -> (N, R, m), float64."""
        xp = self.backend.xp
        products = xp.matmul(xp.astype(x, xp.float64), xp.matrix_transpose(self.x))  # (N, R, r)
        return xp.matmul(self.alpha * products + self.beta * constants[:, None], self.w)

    def apply_transpose(self, d: Array) -> Array:
        """The transpose of the part without bias, (N or 1, K, m) -> (N, K, n), float64."""
        xp = self.backend.xp
        products = xp.matmul(xp.astype(d, xp.float64), xp.matrix_transpose(self.w))
        return self.alpha * xp.matmul(products, self.x)


def gradient(
    backend: Backend,
    asked: Sequence[Question],
    cotangents: Sequence[tuple[Array, Array]],
    how: AbstractParameterization,
    mixing: bool,
) -> tuple[Gradient, Array]:
    """The gradient of one functional (K = 1) divided by 2^exponent, and the exponents (N,)."""
    xp = backend.xp
    g, exponent = joined_cotangents(backend, cotangents, mixing)
    networks, _, inputs, sites, units = g.shape
    weights = how.tap_weights(asked[0].question)
    x = plain_question(backend, asked, inputs, (), mixing)
    x = x * spread(backend, weights, x.shape[3]) if weights else x
    alpha, beta = how.scales_of(asked[0])
    w = xp.reshape(g, (networks, inputs * sites, units))
    return Gradient(backend, w, xp.reshape(x, (x.shape[0], inputs * sites, x.shape[3])), alpha, beta), exponent
