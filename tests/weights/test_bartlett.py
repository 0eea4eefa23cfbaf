"""Normal vectors in their own frame: chi variables and the triangle, against exact moments and laws; named mutants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2, kstest
from strict_backend import STRICT, fetch

from mcnet import streams
from mcnet.backend import get_backend
from mcnet.weights import bartlett
from mcnet.weights.laws import Ensemble, Layer

CPU = get_backend("cpu")
KEY = streams.seed_key(3)
NETWORKS, MANY = 8000, 100_000
ROWS, UNITS = 3, 7


def ensemble(networks: int, start: int = 0, backend: Any = CPU) -> Ensemble:
    return Ensemble(backend, KEY, start, start + networks, "mixed")


def layer(units: int = UNITS, kept: int = ROWS) -> Layer:
    return Layer(4, kept, 11, "gaussian", 1.0, 0.0, units, True)


def triangle(networks: int = NETWORKS, units: int = UNITS, **where: Any) -> Any:
    who = ensemble(networks, **where)
    return bartlett.forward_normals(layer(units), who, 0, ROWS, who.backend.xp.float64)


def check_wishart(t: np.ndarray[Any, Any], units: int) -> None:
    """Means, second and third moments of T T^T: those of n normal vectors, within 5 standard errors.

    E W = n 1, E W_ij^2 = n (1 + d_ij) + n^2 d_ij, E W_12 W_23 W_31 = n, E W_ii W_ij^2 = n (n + 2). A degree less moves
    the mean of W_ii by 1/n, here 14 %, that is 24 standard errors.
    """
    w = t @ t.swapaxes(1, 2)
    n, diagonal = units, np.eye(ROWS)
    parts = [(w, n * diagonal), (w**2, n * (1 + diagonal) + n**2 * diagonal)]
    parts.append((w[:, 0, 1] * w[:, 1, 2] * w[:, 2, 0], np.asarray(float(n))))
    parts.append((w[:, 1, 1] * w[:, 1, 2] ** 2, np.asarray(float(n * (n + 2)))))
    for found, expected in parts:
        z = (found.mean(0) - expected) / (found.std(0) / np.sqrt(len(found)))
        assert np.all(np.abs(z) < 5.0), f"moments of the products: {np.round(z, 1)} standard errors from their means"


def test_the_triangle_has_the_products_of_normal_vectors() -> None:
    t = triangle()
    check_wishart(t, UNITS)
    np.testing.assert_array_equal(np.triu(t, 1), 0.0)


def test_the_check_rejects_a_degree_less() -> None:
    with pytest.raises(AssertionError, match="moments of the products"):
        check_wishart(triangle(units=UNITS - 1), UNITS)


def test_the_check_rejects_a_diagonal_of_half_the_spread() -> None:
    t = triangle()
    where = np.arange(ROWS)
    t[:, where, where] = np.sqrt((UNITS - where + t[:, where, where] ** 2) / 2)
    with pytest.raises(AssertionError, match="moments of the products"):
        check_wishart(t, UNITS)


@pytest.mark.parametrize("degrees", [2, 3, 17, 1024, 100_000])
def test_chi_variables(degrees: int) -> None:
    """Kolmogorov-Smirnov against the law of chi^2; candidates are rejected most often at two degrees."""
    found = bartlett.chi(ensemble(MANY), 5, np.array([degrees, degrees]))
    for column in (0, 1):
        assert kstest(found[:, column] ** 2, chi2(degrees).cdf).pvalue > 1e-5
    assert abs(np.corrcoef(found.T)[0, 1]) < 5 / np.sqrt(MANY)


def test_the_law_rejects_candidates_that_are_all_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named mutant: every candidate is accepted."""

    class Everything(Ensemble):
        def uniforms(self, *args: Any, **options: Any) -> Any:
            return super().uniforms(*args, **options) * 0.0 - 1.0

    found = bartlett.chi(Everything(CPU, KEY, 0, MANY, "mixed"), 5, np.array([2]))
    assert kstest(found[:, 0] ** 2, chi2(2).cdf).pvalue < 1e-5


def test_a_network_is_the_same_in_any_batch_and_on_any_arrays() -> None:
    whole = triangle(6)
    for start, stop in ((0, 1), (2, 5), (5, 6)):
        assert np.array_equal(triangle(stop - start, start=start), whole[start:stop])
    np.testing.assert_allclose(fetch(triangle(6, backend=STRICT)), whole, rtol=1e-14)


def test_what_is_left_out_is_zero() -> None:
    """All units or as many as vectors: the same numbers; later questions and other layers are not turned."""
    full = bartlett.forward_normals(layer(kept=UNITS), ensemble(4), 0, ROWS, np.float64)
    np.testing.assert_array_equal(full[:, :, :ROWS], triangle(4))
    np.testing.assert_array_equal(full[:, :, ROWS:], 0.0)
    later = bartlett.forward_normals(layer(kept=UNITS), ensemble(4), ROWS, 2, np.float64)
    where = {"dtype": np.float64, "first": (ROWS, 0)}
    np.testing.assert_array_equal(later, ensemble(4).normals(streams.FORWARD, 4, 2, UNITS, **where))
