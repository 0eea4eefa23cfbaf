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
    __array_ufunc__ = None  # a NumPy number times an expression is an expression, a NumPy function of one an error

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
        if isinstance(other, Expression) or other == 0:
            return Expression("div", self, other)
        return Expression("mul", self, 1.0 / other)  # several times faster, and right to the last digit but one

    def __rtruediv__(self, other: Any) -> Expression:
        return Expression("div", other, self)

    def __neg__(self) -> Expression:
        return Expression("sub", 0.0, self)

    def __pow__(self, exponent: Any) -> Expression:
        if not (isinstance(exponent, int) and 2 <= exponent <= 16):
            raise TypeError(f"an activation may raise to the integer powers 2 to 16 only, not {exponent!r}")
        half = self if exponent < 4 else self ** (exponent // 2)
        rest = half * half if exponent < 4 or exponent % 2 == 0 else half * half * self
        return rest * self if exponent == 3 else rest

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

    def __eq__(self, other: object) -> bool:
        raise TypeError("an activation must not test for equality: use m.where with <, <=, > or >=")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("an activation must be elementwise: use m.where(condition, a, b) instead of if, and, or")


def _node(name: str) -> Callable[..., Any]:
    def build(*arguments: Any) -> Any:
        if any(isinstance(argument, Expression) for argument in arguments):
            if name == "maximum" or name == "minimum":  # a number last, so that a NaN in the other one stays
                arguments = tuple(sorted(arguments, key=lambda argument: not isinstance(argument, Expression)))
            return Expression(name, *arguments)
        return float(getattr(numpy_math, name)(*arguments))

    return build


symbolic_math = SimpleNamespace(**{name: _node(name) for name in FUNCTIONS})


def trace(function: Callable[..., Any]) -> Expression:
    """Expression of ``function(u, m)`` in the symbol ``u``.

    Raises
    ------
    TypeError
        If the function branches on its argument or returns something that is no elementwise formula.
    """
    try:
        result = function(Expression("symbol"), symbolic_math)
    except AttributeError as error:
        raise TypeError(f"an activation may use {', '.join(FUNCTIONS)} of m only: {error}") from error
    if isinstance(result, int | float | np.floating | np.integer) and not isinstance(result, bool):
        return Expression("constant", float(result))
    if not isinstance(result, Expression):
        raise TypeError(f"an activation must return an elementwise formula, got {type(result).__name__}")
    _check_comparisons(result, condition=False)
    return result


def _check_comparisons(node: Expression | float, condition: bool) -> None:
    """A comparison is the condition of a ``where``, and such a condition is a comparison."""
    if not isinstance(node, Expression):
        node = Expression("constant", node)
    if (node.operation in ("gt", "ge", "lt", "le")) is not condition:
        raise TypeError("an activation uses comparisons as the condition of m.where(condition, a, b), and only there")
    if node.operation != "constant":
        for position, argument in enumerate(node.arguments):
            _check_comparisons(argument, condition=node.operation == "where" and position == 0)


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


def remembering() -> SimpleNamespace:
    """As :data:`numpy_math`, for one array: a function called again with the same objects gives what it gave before."""
    known: dict[tuple[Any, ...], tuple[Any, Any]] = {}  # arguments are kept, so that ids stay theirs

    def remembered(name: str) -> Callable[..., Any]:
        function = getattr(numpy_math, name)

        def call(*arguments: Any) -> Any:
            key = (name, *(id(argument) if isinstance(argument, np.ndarray) else argument for argument in arguments))
            if key not in known:
                known[key] = arguments, function(*arguments)
            return known[key][1]

        return call

    return SimpleNamespace(**{name: remembered(name) for name in FUNCTIONS})
