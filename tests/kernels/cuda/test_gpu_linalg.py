"""Linear algebra of the GPU on NumPy arrays: the same code, with cuSOLVER's entry points on the host."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_host.build import compiler, library
from numpy.typing import DTypeLike, NDArray

from mcnet.kernels.cuda import linalg
from mcnet.kernels.cuda.device import Namespace

RNG = np.random.default_rng(8)
needs_compiler = pytest.mark.skipif(compiler() is None, reason="g++ is missing: cuSOLVER cannot be put on the host")


def address(array: NDArray[Any]) -> int:
    return array.ctypes.data


def cusolver() -> ctypes.CDLL:
    source = Path(__file__).resolve().parents[2] / "cuda_host" / "cusolver_on_host.c"
    return library(source.read_text(encoding="utf-8"), "c")


def symmetric(count: int, size: int, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    a = RNG.standard_normal((count, size, size))
    return (a @ a.swapaxes(1, 2) / size).astype(dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batched_eigenvalues(dtype: DTypeLike) -> None:
    solver = linalg.Solver(cusolver(), lambda: 77, address)
    for count, size in ((3, 1), (5, 33), (2, 40)):
        a = symmetric(count, size, dtype)
        kept = a.copy()
        found = solver.eigvalsh(np, a)
        assert found.dtype == dtype
        assert np.array_equal(a, kept)  # the solver overwrites its matrices, so it must get copies
        expected = np.linalg.eigvalsh(a.astype(np.float64))
        assert np.max(np.abs(found - expected)) < 50 * np.finfo(dtype).eps * np.max(expected)


@needs_compiler
def test_a_solver_that_fails_is_told() -> None:
    solver = linalg.Solver(cusolver(), lambda: 77, address)
    a = symmetric(3, 33)
    a[1] = np.nan
    with pytest.raises(np.linalg.LinAlgError, match="1 of 3"):
        solver.eigvalsh(np, a)
    wrong = linalg.Solver(cusolver(), lambda: 78, address)
    with pytest.raises(RuntimeError, match="returned 3"):
        wrong.eigvalsh(np, a)


@needs_compiler
def test_eigenvalues_by_size_and_without_the_batched_routine() -> None:
    asked = []

    class Counting(linalg.Solver):
        def eigvalsh(self, xp: Any, a: Any) -> Any:
            asked.append(a.shape)
            return super().eigvalsh(xp, a)

    solver = Counting(cusolver(), lambda: 77, address)
    for shape in ((4, 20), (1, 50), (4, 50)):
        a = symmetric(*shape)
        expected = np.linalg.eigvalsh(a)
        for given in (solver, None):
            np.testing.assert_allclose(linalg.eigvalsh(np, a, given), expected, atol=1e-12)
    np.testing.assert_allclose(linalg.eigvalsh(np, a[0], solver), expected[0], atol=1e-12)
    assert asked == [(4, 50, 50)]


def test_products_in_groups_are_products() -> None:
    for a, b in (
        ((5, 3, 4), (5, 4, 2)),
        ((1, 3, 4), (70, 4, 2)),
        ((2, 3, 3, 4), (3, 4, 2)),
        ((3, 4), (4, 2)),
        ((0, 3, 4), (0, 4, 2)),
    ):
        x, y = RNG.standard_normal(a), RNG.standard_normal(b)
        np.testing.assert_allclose(linalg.matmul(np, x, y), np.matmul(x, y), atol=1e-13)


def test_every_product_has_the_same_number_of_matrices() -> None:
    """The library sees one shape whatever the batch: its choice of algorithm cannot depend on the batch."""
    shapes = set()

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        def matmul(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
            shapes.add((x.shape, y.shape))
            return np.matmul(x, y)

    for count in (1, 63, 64, 65, 200):
        linalg.matmul(Watched(), RNG.standard_normal((count, 3, 4)), RNG.standard_normal((count, 4, 2)))
    assert len(shapes) == 1
    assert linalg.group_size(1000, 1000, 2) == 4
    assert linalg.group_size(10**5, 10**5, 2) == 1


def test_the_namespace_fills_the_gaps_of_cupy() -> None:
    """With NumPy in the place of CuPy: names it lacks, with the meaning of the standard."""
    xp, a = Namespace(np, None), symmetric(3, 6)
    assert np.array_equal(xp.linalg.diagonal(a), np.diagonal(a, axis1=1, axis2=2))
    np.testing.assert_allclose(xp.linalg.trace(a), np.trace(a, axis1=1, axis2=2))
    np.testing.assert_allclose(xp.linalg.svdvals(a[0]), np.linalg.svd(a[0])[1], atol=1e-13)
    np.testing.assert_allclose(xp.linalg.eigvalsh(a), np.linalg.eigvalsh(a), atol=1e-13)
    np.testing.assert_allclose(xp.vecdot(a, a), np.sum(a * a, axis=-1))
    np.testing.assert_allclose(xp.matmul(a, a), a @ a)
    assert xp.float32 is np.float32
