"""Elementwise functions written once, evaluated in NumPy and printed as Numba and CUDA source.

An activation is a Python function ``phi(u, m)`` of a value ``u`` and a namespace ``m`` of elementwise mathematics
(``m.tanh``, ``m.where``, ...). Called with arrays and :data:`numpy_math` it computes; called with the symbol of
:func:`trace` it builds an :class:`Expression`, which :func:`assignments` turns into lines of source text in which a
common subexpression is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

FUNCTIONS = ("abs", "cos", "erf", "exp", "expm1", "log1p", "maximum", "minimum", "sin", "sqrt", "tanh", "where")
"""Names every namespace ``m`` offers; ``where(condition, a, b)``, the two extrema take two values, the rest one."""

_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Expression:
    """A node of an elementwise formula: an operation and its arguments (expressions or numbers)."""

    __slots__ = ("arguments", "operation")

    def __init__(self, operation: str, *arguments: Expression | float) -> None:
        self.operation = operation
        self.arguments = arguments

    def __add__(self, other: Any) -> Expression:
        return Expression("add", self, other)

    def __radd__(self, other: Any) -> Expression:
        return Expression("add", other, self)

    def __sub__(self, other: Any) -> Expression:
        return Expression("sub", self, other)

    def __rsub__(self, other: Any) -> Expression:
        return Expression("sub", other, self)

    def __mul__(self, other: Any) -> Expression:
        return Expression("mul", self, other)

    def __rmul__(self, other: Any) -> Expression:
        return Expression("mul", other, self)

    def __truediv__(self, other: Any) -> Expression:
        return Expression("div", self, other)

    def __rtruediv__(self, other: Any) -> Expression:
        return Expression("div", other, self)

    def __neg__(self) -> Expression:
        return Expression("sub", 0.0, self)

    def __abs__(self) -> Expression:
        return Expression("abs", self)

    def __gt__(self, other: Any) -> Expression:
        return Expression("gt", self, other)

    def __ge__(self, other: Any) -> Expression:
        return Expression("ge", self, other)

    def __lt__(self, other: Any) -> Expression:
        return Expression("lt", self, other)

    def __le__(self, other: Any) -> Expression:
        return Expression("le", self, other)

    def __bool__(self) -> bool:
        raise TypeError("an activation must be elementwise: use m.where(condition, a, b) instead of if, and, or")


def _node(name: str) -> Callable[..., Expression]:
    return lambda *arguments: Expression(name, *arguments)


symbolic_math = SimpleNamespace(**{name: _node(name) for name in FUNCTIONS})


def trace(function: Callable[..., Any]) -> Expression:
    """Expression of ``function(u, m)`` in the symbol ``u``.

    Raises
    ------
    TypeError
        If the function branches on its argument or returns something that is no elementwise formula.
    """
    result = function(Expression("symbol"), symbolic_math)
    if isinstance(result, int | float):
        return Expression("constant", float(result))
    if not isinstance(result, Expression):
        raise TypeError(f"an activation must return an elementwise formula, got {type(result).__name__}")
    return result


def assignments(
    expressions: Sequence[Expression],
    symbol: str,
    number: Callable[[float], str],
    call: Callable[[str, Sequence[str]], str],
) -> tuple[list[tuple[str, str]], list[str]]:
    """Single-assignment form of some expressions of one symbol, each subexpression computed once.

    Parameters
    ----------
    expressions : sequence of Expression
    symbol : str
        Name of the argument in the printed source.
    number : callable
        Prints a float constant in the target language.
    call : callable
        Prints ``function(arguments)``; arithmetic and comparisons are printed infix, alike in Python and C.

    Returns
    -------
    lines : list of (name, right-hand side)
        In order of evaluation; names are ``t0, t1, ...``.
    results : list of str
        What stands for each of the expressions.
    """
    lines: list[tuple[str, str]] = []
    known: dict[str, str] = {}

    def visit(node: Expression | float) -> str:
        if not isinstance(node, Expression):
            return number(float(node))
        if node.operation == "symbol":
            return symbol
        if node.operation == "constant":
            (value,) = node.arguments
            assert not isinstance(value, Expression)
            return number(value)
        arguments = [visit(argument) for argument in node.arguments]
        if node.operation in _SYMBOLS:
            text = f"{arguments[0]} {_SYMBOLS[node.operation]} {arguments[1]}"
        else:
            text = call(node.operation, arguments)
        if text not in known:
            known[text] = f"t{len(lines)}"
            lines.append((known[text], text))
        return known[text]

    return lines, [visit(expression) for expression in expressions]


def _erf(u: Any) -> Any:
    from scipy.special import erf

    return erf(u)


numpy_math = SimpleNamespace(
    abs=np.abs,
    cos=np.cos,
    erf=_erf,
    exp=np.exp,
    expm1=np.expm1,
    log1p=np.log1p,
    maximum=np.maximum,
    minimum=np.minimum,
    sin=np.sin,
    sqrt=np.sqrt,
    tanh=np.tanh,
    where=np.where,
)
