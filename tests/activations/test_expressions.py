"""Formulas written once: traced, printed, and refused where they are no formula."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mcnet.activations.expressions import FUNCTIONS, Expression, assignments, numpy_math, trace


def printed(expressions: list[Expression]) -> tuple[list[tuple[str, str]], list[str]]:
    return assignments(expressions, "u", repr, lambda name, arguments: f"{name}({', '.join(arguments)})")


def evaluated(function: Callable[..., Any], u: Any) -> Any:
    """A formula through its printed form."""
    lines, (result,) = printed([trace(function)])
    scope = {name: getattr(numpy_math, name) for name in FUNCTIONS} | {"u": u}
    for left, right in lines:
        scope[left] = eval(right, scope)
    return eval(result, scope)


FORMULAS: list[Callable[..., Any]] = [
    lambda u, m: 2 * u - u / 3 + 1 - (4 - u) / (5 + u * u),
    lambda u, m: -u + abs(u) * m.sqrt(m.abs(u)),
    lambda u, m: m.where(u > 0.5, m.exp(-u), m.where(u <= -0.5, m.sin(u), m.cos(u))),
    lambda u, m: m.where(u >= 0, m.tanh(u), m.erf(u)) + m.where(u < 0, m.expm1(u), m.log1p(m.maximum(u, 0))),
    lambda u, m: m.minimum(1.0, u) * m.maximum(-1.0, u) + m.sqrt(2.0),
    lambda u, m: np.float64(2.0) * u + np.float32(0.5) - u * np.float64(3.0),
    lambda u, m: sum((u**k for k in range(3, 17)), u**2),
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_printed_form_computes_the_formula(formula: Callable[..., Any]) -> None:
    u = np.linspace(-1.5, 1.5, 31)
    np.testing.assert_allclose(evaluated(formula, u), formula(u, numpy_math), rtol=1e-14)


def test_powers_are_multiplications() -> None:
    for exponent in range(2, 17):
        lines, _ = printed([trace(lambda u, m, exponent=exponent: u**exponent)])
        assert all(" * " in right for _, right in lines)
        assert len(lines) <= 2 * math.log2(exponent)


def test_a_common_subexpression_is_computed_once() -> None:
    lines, results = printed(
        [trace(lambda u, m: m.tanh(2.0 * u)), trace(lambda u, m: 1.0 - m.tanh(2.0 * u) * m.tanh(2.0 * u))]
    )
    assert lines == [("t0", "2.0 * u"), ("t1", "tanh(t0)"), ("t2", "t1 * t1"), ("t3", "1.0 - t2")]
    assert results == ["t1", "t3"]


def test_constants_are_formulas_too() -> None:
    assert printed([trace(lambda u, m: 1)]) == ([], ["1.0"])
    assert printed([trace(lambda u, m: m.exp(0.0))]) == ([], ["1.0"])
    assert printed([trace(lambda u, m: u)]) == ([], ["u"])


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda u, m: u if u > 0 else 0.0, "m.where"),
        (lambda u, m: max(u, 0.0), "m.where"),
        (lambda u, m: m.where((u > 0) and (u < 1), u, 0.0), "m.where"),
        (lambda u, m: 0.0 if u == 0 else u, "equality"),
        (lambda u, m: (u > 0) * u, "only there"),
        (lambda u, m: u > 0, "only there"),
        (lambda u, m: m.where(u, 1.0, 0.0), "only there"),
        (lambda u, m: u**0.5, "integer powers"),
        (lambda u, m: u**-1, "integer powers"),
        (lambda u, m: math.tanh(u), "real number"),
        (lambda u, m: np.tanh(u), "ufunc"),
        (lambda u, m: m.cosh(u), "may use"),
        (lambda u, m: None, "NoneType"),
        (lambda u, m: "u", "str"),
        (lambda u, m: True, "bool"),
    ],
)
def test_what_is_no_formula_is_refused(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        trace(function)
