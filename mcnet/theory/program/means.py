"""Means of one and two Gaussian variables of the activations and slopes of a program, shifts and mixed pairs too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mcnet.activations import Activation
from mcnet.theory import gaussian
from mcnet.theory.gaussian import TINY

Floats = NDArray[np.float64]

_REACH = 8.5  # the normal density beyond is 2e-16
_FINEST = 1.0 / 40  # below it panels are faster


@dataclass(frozen=True)
class Shape:
    """An activation, or its slope.

    Attributes
    ----------
    activation : Activation
    slope : bool
        Whether phi' is meant.
    """

    activation: Activation
    slope: bool = False

    def __call__(self, u: Floats) -> Floats:
        """Values, elementwise."""
        return np.asarray(self.activation.dphi(u) if self.slope else self.activation.phi(u), dtype=np.float64)

    @property
    def derivative(self) -> Shape:
        """The slope of an activation."""
        assert not self.slope
        return Shape(self.activation, True)

    def closed(self, pair: bool) -> bool:
        """Whether the mean of a square, or of a product of a pair, has a closed form."""
        name = "product" if pair else "square"
        return self.activation.closed(f"derivative_{name}" if self.slope else name) is not None


def mean(shape: Shape, variance: Floats, shift: Floats) -> Floats:
    """E f(u + shift), u ~ N(0, variance), elementwise."""
    return np.array([_mean(shape, float(q), float(m)) for q, m in zip(variance, shift, strict=True)])


def products(f: Shape, g: Shape, covariance: tuple[Floats, Floats, Floats], shifts: tuple[Floats, Floats]) -> Floats:
    """E f(u_r + m_r) g(v_s + n_s) for Gaussian rows u and v.

    Parameters
    ----------
    f, g : Shape
    covariance : tuple of ndarray, shapes (R,), (S,), (R, S)
        Variances of the rows and covariances between them.
    shifts : tuple of ndarray, shapes (R,), (S,)
        The constants m and n.

    Returns
    -------
    ndarray, shape (R, S)

    Notes
    -----
    Closed forms where there are any; else the trapezoidal rule, which for analytic functions converges exponentially,
    with a step that is seen to be enough in one dimension; panels with edges on the kinks where there are kinks or the
    step is too small. Accuracy: 1e-12 of the root of the product of the squares.
    """
    a, b, k = covariance
    m, n = shifts
    out: Floats = np.empty(k.shape)
    known: dict[tuple[float, ...], float] = {}
    plain = f == g and not m.any() and not n.any()
    if plain and f.closed(True):
        pair = gaussian.derivative_product if f.slope else gaussian.product
        out[...] = pair(f.activation, a[:, None], b[None, :], k)
        same = (k == a[:, None]) & (k == b[None, :])
        if same.any():
            single = gaussian.derivative_square if f.slope else gaussian.square
            out[same] = single(f.activation, k[same])
        return out
    first, second = mean(f, a, m), mean(g, b, n)
    for r, s in np.ndindex(*k.shape):
        key = (float(a[r]), float(b[s]), float(k[r, s]), float(m[r]), float(n[s]))
        if key[2] == 0.0 and (key[0] > 0.0 or key[1] > 0.0):
            out[r, s] = first[r] * second[s]
            continue
        if key not in known:
            known[key] = _product(f, g, *key)
            if f == g:
                known[key[1], key[0], key[2], key[4], key[3]] = known[key]
        out[r, s] = known[key]
    return out


def _kinks(shape: Shape, shift: float) -> tuple[float, ...]:
    return tuple(kink - shift for kink in shape.activation.kinks)


@lru_cache(maxsize=4096)
def _mean(shape: Shape, q: float, shift: float) -> float:
    q = max(q, TINY) if shape.slope else q
    scale = gaussian.feature_scale(shape.activation)
    kinks = _kinks(shape, shift) if shift == 0.0 else (*_kinks(shape, shift), -shift)
    u, weights = gaussian.nodes(q, kinks, scale)
    return float(weights @ shape(u + shift))


def _product(f: Shape, g: Shape, a: float, b: float, k: float, m: float, n: float) -> float:
    """One entry; k is not 0, or all variances are."""
    if f == g and m == n and k == a == b:
        q = max(a, TINY) if f.slope else a
        u, weights = gaussian.nodes(q, (*_kinks(f, m), -m), gaussian.feature_scale(f.activation))
        return float(weights @ f(u + m) ** 2)
    step = 0.0 if f.activation.kinks or g.activation.kinks else min(_step(f, _up(a), m), _step(g, _up(b), n))
    if step >= _FINEST:
        z_1, z_2, weights = _disc(step)
        slope = k / math.sqrt(a)
        rest = math.sqrt(max(0.0, b - slope * slope))
        return float(weights @ (f(math.sqrt(a) * z_1 + m) * g(slope * z_1 + rest * z_2 + n)))
    scale = min(gaussian.feature_scale(f.activation), gaussian.feature_scale(g.activation))
    kinks = sorted({*_kinks(f, m), *_kinks(g, n)})
    u, weights = gaussian.pair_nodes([[a, k], [k, b]], kinks, scale)
    return float(weights @ (f(u[0] + m) * g(u[1] + n)))


def _up(q: float) -> float:
    """The standard deviation, rounded up so that few steps are to be found."""
    return math.exp2(math.ceil(math.log2(q)) / 2.0)


@lru_cache(maxsize=1024)
def _step(shape: Shape, length: float, shift: float) -> float:
    """Step of the trapezoidal rule for f at u = length z; 0 where none above the finest is enough."""
    step = 0.5
    while step >= _FINEST:
        coarse, fine = (_trapezoid(shape, length, shift, width) for width in (2.0 * step, step))
        if np.all(np.abs(coarse - fine) <= 1e-7 * abs(fine[0]) + 1e-300):  # the finer one has the square of the error
            return step
        step /= math.sqrt(2.0)
    return 0.0


def _trapezoid(shape: Shape, length: float, shift: float, step: float) -> Floats:
    """Means of f^2, f^2 cos z and f^2 sin z: in a product, f has another factor."""
    count = math.ceil(_REACH / step)
    z = step * np.arange(-count, count + 1, dtype=np.float64)
    weights = step * np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    value = shape(length * z + shift) ** 2
    return np.array([weights @ value, weights @ (value * np.cos(z)), weights @ (value * np.sin(z))])


@lru_cache(maxsize=16)
def _disc(step: float) -> tuple[Floats, Floats, Floats]:
    count = math.ceil(_REACH / step)
    z = step * np.arange(-count, count + 1)
    one, two = (axis.ravel() for axis in np.meshgrid(z, z, indexing="ij"))
    inside = one * one + two * two <= _REACH**2
    one, two = one[inside], two[inside]
    weights = step**2 * np.exp(-0.5 * (one * one + two * two)) / (2.0 * math.pi)
    return one, two, weights
