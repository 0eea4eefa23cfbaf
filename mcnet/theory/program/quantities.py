"""Numbers that a finite network scatters around their limits, to first order in 1/M, and smooth functions of them.

The noise of a network of M sites is a vector e of mean zero with M Cov(e) = ``Noise.covariance``. A quantity X has

    M^(1/2) (X - limit) -> response . e ,        M (E X - limit) -> shift ;

functions of quantities follow by the delta method to second order. Derivatives are truncated Taylor series in one
variable, along the axes for the first ones and along the eigenvectors of the covariance for the second ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Noise:
    """M times the covariance of the noise, which grows as entries are measured."""

    def __init__(self) -> None:
        self._matrix: Floats = np.zeros((64, 64))
        self.size = 0

    @property
    def covariance(self) -> Floats:
        """Shape (n, n)."""
        return self._matrix[: self.size, : self.size]

    def extend(self, with_old: Floats, own: Floats) -> NDArray[np.intp]:
        """New components: covariances (k, n) with the old ones and (k, k) among them; their indices."""
        old, new = self.size, self.size + len(own)
        if new > len(self._matrix):
            grown = np.zeros((2 * new, 2 * new))
            grown[:old, :old] = self.covariance
            self._matrix = grown
        self._matrix[old:new, :old] = with_old
        self._matrix[:old, old:new] = with_old.T
        self._matrix[old:new, old:new] = own
        self.size = new
        return np.arange(old, new)

    def between(self, a: Floats, b: Floats) -> Floats:
        """M times the covariance of quantities with these responses, (p, n') and (q, n'')."""
        covariance = self._matrix[: a.shape[1], : b.shape[1]]
        return np.asarray((a @ covariance) @ b.T if len(a) < len(b) else a @ (covariance @ b.T))

    def pushed(self, response: Floats) -> Floats:
        """M times the covariance of a quantity with all components of the noise: (p, n)."""
        return np.asarray(response @ self._matrix[: response.shape[1], : self.size])

    def new(self, covariance: Floats) -> Quantity:
        """Noise of its own: a quantity of limit zero. The covariance may be that of something to be taken away."""
        count = len(covariance)
        index = self.extend(np.zeros((count, self.size)), covariance)
        response = np.zeros((count, self.size))
        response[np.arange(count), index] = 1.0
        return Quantity(np.zeros(count), response, np.zeros(count))


@dataclass(frozen=True, eq=False)
class Quantity:
    """An array of numbers of a network.

    Attributes
    ----------
    value : ndarray
        The limit.
    response : ndarray, shape (value.size, n)
    shift : ndarray, shape (value.size,)
    """

    value: Floats
    response: Floats
    shift: Floats

    @staticmethod
    def constant(value: Any) -> Quantity:
        """Numbers that do not scatter."""
        value = np.asarray(value, np.float64)
        return Quantity(value, np.zeros((value.size, 0)), np.zeros(value.size))

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the value."""
        return self.value.shape

    def mapped(self, matrix: Floats, shape: tuple[int, ...]) -> Quantity:
        """A linear map (new size, size) of the flat array."""
        value = (matrix @ self.value.ravel()).reshape(shape)
        return Quantity(value, matrix @ self.response, matrix @ self.shift)

    def taken(self, index: NDArray[np.intp]) -> Quantity:
        """Elements of the flat array, in the shape of the index."""
        flat = index.ravel()
        return Quantity(self.value.ravel()[index], self.response[flat], self.shift[flat])

    def reshaped(self, *shape: int) -> Quantity:
        """The same numbers."""
        return Quantity(self.value.reshape(shape), self.response, self.shift)

    @property
    def T(self) -> Quantity:
        """Transpose of a matrix."""
        return self.taken(np.arange(self.value.size).reshape(self.shape).T)

    def __add__(self, other: Quantity | float) -> Quantity:
        if not isinstance(other, Quantity):
            return Quantity(self.value + other, self.response, self.shift)
        a, b = padded([self.response, other.response])
        return Quantity(self.value + other.value, a + b, self.shift + other.shift)

    def __mul__(self, factor: float) -> Quantity:
        return Quantity(factor * self.value, factor * self.response, factor * self.shift)

    __rmul__ = __mul__

    def __neg__(self) -> Quantity:
        return self * -1.0

    def __sub__(self, other: Quantity) -> Quantity:
        return self + (-other)


def padded(responses: Sequence[Floats]) -> list[Floats]:
    """Responses with as many columns as the longest has."""
    columns = max(one.shape[1] for one in responses)
    out = []
    for one in responses:
        wide = one if one.shape[1] == columns else np.zeros((len(one), columns))
        wide[:, : one.shape[1]] = one
        out.append(wide)
    return out


def stacked(parts: Sequence[Quantity]) -> Quantity:
    """Quantities one after the other, flat."""
    responses = padded([one.response for one in parts])
    values = np.concatenate([one.value.ravel() for one in parts])
    return Quantity(values, np.concatenate(responses), np.concatenate([one.shift for one in parts]))


def block(q: Quantity, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Quantity:
    """Some rows and columns of a matrix."""
    return q.taken(rows[:, None] * q.shape[1] + columns[None, :])


def bordered(old: Quantity, cross: Quantity, own: Quantity) -> Quantity:
    """[[old, cross], [cross^T, own]]."""
    k, j = cross.shape
    index = np.zeros((k + j, k + j), np.intp)
    index[:k, :k] = np.arange(k * k).reshape(k, k)
    index[:k, k:] = k * k + np.arange(k * j).reshape(k, j)
    index[k:, :k] = index[:k, k:].T
    index[k:, k:] = k * k + k * j + np.arange(j * j).reshape(j, j)
    return stacked([old, cross, own]).taken(index)


def beside(a: Quantity, b: Quantity) -> Quantity:
    """Columns of both."""
    rows, first, second = a.shape[0], a.shape[1], b.shape[1]
    index = np.concatenate(
        [
            np.arange(rows * first).reshape(rows, first),
            rows * first + np.arange(rows * second).reshape(rows, second),
        ],
        axis=1,
    )
    return stacked([a, b]).taken(index)


# ------------------------------------------------------------ Taylor series of second order


@dataclass(frozen=True, eq=False)
class Taylor:
    """x + e x1 + e^2 x2 for many directions at once: x (...), x1 and x2 (directions, ...)."""

    zero: Floats
    one: Floats
    two: Floats

    @property
    def T(self) -> Taylor:
        """Transpose of a matrix."""
        return Taylor(self.zero.T, self.one.swapaxes(1, 2), self.two.swapaxes(1, 2))

    def __getitem__(self, index: Any) -> Taylor:
        index = index if isinstance(index, tuple) else (index,)
        return Taylor(self.zero[index], self.one[(slice(None), *index)], self.two[(slice(None), *index)])

    def __add__(self, other: Taylor | float | Floats) -> Taylor:
        if not isinstance(other, Taylor):
            return Taylor(self.zero + other, self.one, self.two)
        return Taylor(self.zero + other.zero, self.one + other.one, self.two + other.two)

    def __neg__(self) -> Taylor:
        return Taylor(-self.zero, -self.one, -self.two)

    def __sub__(self, other: Taylor) -> Taylor:
        return self + (-other)

    def __mul__(self, other: Taylor | float) -> Taylor:
        if not isinstance(other, Taylor):
            return Taylor(other * self.zero, other * self.one, other * self.two)
        a, b = self, other
        two = a.two * b.zero + a.one * b.one + a.zero * b.two
        return Taylor(a.zero * b.zero, a.one * b.zero + a.zero * b.one, two)

    __rmul__ = __mul__

    def __matmul__(self, other: Taylor) -> Taylor:
        a, b = self, other
        two = a.two @ b.zero + a.one @ b.one + a.zero @ b.two
        return Taylor(a.zero @ b.zero, a.one @ b.zero + a.zero @ b.one, two)

    def sum(self, axis: int) -> Taylor:
        """Sum along an axis, kept; counted from the end."""
        assert axis < 0
        return Taylor(*(part.sum(axis=axis, keepdims=True) for part in (self.zero, self.one, self.two)))

    def composed(self, value: Floats, slope: Floats, bend: Floats) -> Taylor:
        """f(x) elementwise from f, f' and f'' at the zeroth order."""
        return Taylor(value, slope * self.one, slope * self.two + 0.5 * bend * self.one**2)


def root(x: Taylor) -> Taylor:
    """Square root, elementwise."""
    value = np.sqrt(x.zero)
    return x.composed(value, 0.5 / value, -0.25 / value**3)


def reciprocal(x: Taylor) -> Taylor:
    """1/x, elementwise."""
    return x.composed(1.0 / x.zero, -1.0 / x.zero**2, 2.0 / x.zero**3)


def exponential(x: Taylor) -> Taylor:
    """exp x, elementwise."""
    value = np.exp(x.zero)
    return x.composed(value, value, value)


def inverse(x: Taylor) -> Taylor:
    """Of a matrix."""
    zero: Floats = np.asarray(np.linalg.inv(x.zero), np.float64)
    first = zero @ x.one @ zero
    return Taylor(zero, -first, first @ x.one @ zero - zero @ x.two @ zero)


def cholesky(x: Taylor) -> Taylor:
    """Lower factor of a positive definite matrix."""
    zero: Floats = np.asarray(np.linalg.cholesky(x.zero), np.float64)
    back = np.linalg.inv(zero)

    def lower(right: Floats) -> Floats:  # L with L zero^T + zero L^T = right
        inner = np.tril(back @ right @ back.T)
        diagonal = np.arange(len(zero))
        inner[..., diagonal, diagonal] *= 0.5
        return np.asarray(zero @ inner)

    one = lower(x.one)
    return Taylor(zero, one, lower(x.two - one @ one.swapaxes(1, 2)))


Smooth = Callable[..., Sequence[Taylor]]


def smooth(noise: Noise, function: Smooth, *given: Quantity) -> list[Quantity]:
    """Functions of quantities by the delta method to second order.

    Parameters
    ----------
    noise : Noise
    function : callable
        Takes a :class:`Taylor` of the shape of each quantity and returns several.
    *given : Quantity

    Returns
    -------
    list of Quantity
    """
    together = stacked(given)
    count = together.value.size
    if not noise.size:
        directions = np.zeros((0, count))
        return [Quantity.constant(one.zero) for one in function(*_arguments(given, directions))]
    spread = noise.between(together.response, together.response)
    sizes, vectors = np.linalg.eigh(0.5 * (spread + spread.T))
    directions = np.concatenate([np.eye(count), vectors.T])  # (2 count, count)
    found = []
    for result in function(*_arguments(given, directions)):
        size = result.zero.size
        slopes = result.one[:count].reshape(count, size).T  # (size, count)
        bend = sizes @ result.two[count:].reshape(count, size)
        found.append(Quantity(result.zero, slopes @ together.response, slopes @ together.shift + bend))
    return found


def _arguments(given: Sequence[Quantity], directions: Floats) -> list[Taylor]:
    arguments, start = [], 0
    for one in given:
        part = directions[:, start : start + one.value.size].reshape(len(directions), *one.shape)
        arguments.append(Taylor(one.value, part, np.zeros_like(part)))
        start += one.value.size
    return arguments


def product(noise: Noise, a: Quantity, b: Quantity) -> Quantity:
    """Elementwise."""
    first, second = padded([a.response, b.response])
    x, y = a.value.ravel(), b.value.ravel()
    covariance = np.einsum("in,nm,im->i", first, noise.covariance[: first.shape[1], : first.shape[1]], second)
    response = y[:, None] * first + x[:, None] * second
    return Quantity(a.value * b.value, response, y * a.shift + x * b.shift + covariance)
