"""Vectors of programs: what every interpretation's vectors have, and their arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcnet.programs.axes import Axes
from mcnet.programs.names import ProgramError

if TYPE_CHECKING:
    from mcnet.programs.vocabulary import AbstractInterpreter

Vector = Any
"""A vector of the interpretation at hand."""


class AbstractVector:
    """A vector of some units with rows; arithmetic works site by site.

    Attributes
    ----------
    interpreter : AbstractInterpreter
    axes : dict of str to int
        Names and sizes of its row axes, the input first.
    units : number
        How many units it has.
    fan : number
        What the variances of weights are divided by where it is a question; ``units`` for most.
    """

    __array_ufunc__ = None  # a NumPy number times a vector is a vector
    interpreter: AbstractInterpreter
    axes: Axes
    units: Any
    fan: Any

    def __add__(self, other: Any) -> Vector:
        return self._sum(other, 1.0)

    def __radd__(self, other: Any) -> Vector:
        return self._sum(other, 1.0)

    def __sub__(self, other: Any) -> Vector:
        return self._sum(other, -1.0)

    def __rsub__(self, other: Any) -> Vector:
        return (-self)._sum(other, 1.0)

    def __neg__(self) -> Vector:
        return self * -1.0

    def __mul__(self, other: Any) -> Vector:
        w = self.interpreter
        if isinstance(other, AbstractVector):
            w._together("a product", self, other)
            return w._product(self, other)
        return w._combination([(w._number("a factor", other), self)], 0.0)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Vector:
        divisor = self.interpreter._number("a divisor", other)
        if divisor == 0.0:
            raise ProgramError("a vector is divided by zero")
        return self * (1.0 / divisor)

    def _sum(self, other: Any, sign: float) -> Vector:
        w = self.interpreter
        if isinstance(other, AbstractVector):
            w._together("a sum", self, other)
            return w._combination([(1.0, self), (sign, other)], 0.0)
        return w._combination([(1.0, self)], sign * w._number("a summand", other))
