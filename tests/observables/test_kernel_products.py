"""The tangent kernel through its products: against the matrix, by Lanczos against all eigenvalues, memory, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from network_points import measured, point
from strict_backend import STRICT

from mcnet import machine, streams
from mcnet.commands.check import cost, require_memory
from mcnet.errors import UsageError
from mcnet.kernels import lanczos
from mcnet.observables import costs, tangent
from mcnet.observables.catalog import OBSERVABLES
from mcnet.plan.plan import make_plan
from mcnet.request import Request
from mcnet.scenario.loading import load

EXTREMES: dict[str, dict[str, Any]] = {"fim": {"trace2": False, "eigenvalue": False}}


@pytest.mark.parametrize("normalization", ["none", "last-mean", "last-batch"])
@pytest.mark.parametrize("case", [{}, {"parameterization": "ntk", "train_biases": True, "weights": "orthogonal"}])
def test_products_give_what_the_matrix_gives(
    normalization: str, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = point(11, 9, width=12, outputs=3, normalization=normalization, fresh=True, **case)
    whole = measured(where, "explicit", {"fim": {}}, 3, 8)
    assert not tangent.by_products(where, EXTREMES)
    monkeypatch.setattr(tangent, "PRODUCTS_FROM", 33)
    assert tangent.by_products(where, EXTREMES)
    assert not tangent.by_products(where, {"fim": {}})
    for backend in (None, STRICT):
        ours = measured(where, "explicit", EXTREMES, 3, 8, backend=backend)
        assert sorted(ours) == ["fim_lambda_max", "fim_lambda_top", "fim_trace", "learning_rate_bound"]
        for name, values in ours.items():
            np.testing.assert_allclose(values, whole[name], rtol=1e-10, err_msg=name)
    top = whole["fim_eigenvalue"][:, :3].mean(1)
    np.testing.assert_allclose(whole["fim_lambda_top"], top, rtol=1e-12)


def test_undefined_and_vanishing_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Width 2, ReLU, no bias: dead networks have F = 0; where the outputs are normalised there is no number."""
    monkeypatch.setattr(tangent, "PRODUCTS_FROM", 2)
    dead: dict[str, Any] = {"width": 2, "depth": 3, "activation": "relu", "sigma_b2": 0.0, "outputs": 1, "fresh": True}
    for normalization in ("none", "last-batch"):
        where = point(3, **dead, normalization=normalization)
        seen = measured(where, "explicit", EXTREMES, 0, 60)
        whole = measured(where, "explicit", {"fim": {}}, 0, 60)
        for name in ("fim_lambda_max", "fim_trace"):  # last-batch leaves rounding of some networks: 1e-31
            np.testing.assert_allclose(seen[name], whole[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("top", [[9.0, 9.0, 9.0], [1.001, 1.0005, 1.0], [3.0, 2.0, 0.0]])
def test_lanczos_finds_clusters_and_bulks(top: list[float]) -> None:
    """A known spectrum in a random basis: three equal values, three that touch a dense bulk, a vanishing rest."""
    rng = np.random.default_rng(3)
    rest = np.linspace(0.0, 1.0 if top[-1] else 0.0, 157)
    values = np.concatenate([top, rest])
    basis = np.linalg.qr(rng.normal(size=(160, 160)))[0]
    matrix = (basis * values) @ basis.T
    calls = 0

    def product(v: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        return np.asarray(matrix @ v)

    found = lanczos.largest(product, rng.normal(size=(160, 4)), 3)
    np.testing.assert_allclose(found, np.sort(values)[::-1][:3], atol=1e-10)
    assert calls <= 160
    assert np.isnan(lanczos.largest(lambda v: v * np.nan, rng.normal(size=(160, 4)), 3)).all()


def test_large_kernels_need_no_matrix() -> None:
    """100 000 inputs times outputs: the matrix takes half a terabyte, the products the errors of the layers."""
    where = point(1000, 32, width=64, outputs=100)
    dense, lean = (
        costs.working_bytes(where, costs.needs_at(where, Request(measures, 1)), "explicit", "mixed", False)
        for measures in ({"fim": {}}, EXTREMES)
    )
    assert dense > 4e11
    assert lean < 2e9


def test_a_kernel_beyond_the_memory_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    study = {
        "mcnet": 1,
        "network": {"activation": "tanh", "weights": "gaussian", "depth": 2, "width": 64, "outputs": 100}
        | {"sigma_w2": 1.5, "sigma_b2": 0.1},
        "inputs": {"kind": "gaussian", "count": 1000},
        "sampling": {"networks": 2},
        "measure": {"fim": {}},
    }
    monkeypatch.setattr(machine, "memory", lambda: 25_000_000_000)
    with pytest.raises(UsageError, match="kernel of 100 x 1000 outputs and inputs takes 480 GB of it; fim = "):
        require_memory(cost(make_plan(load(study))), "study")
    require_memory(cost(make_plan(load({**study, "measure": EXTREMES}))), "study")


def test_start_vectors_are_never_orthogonal_to_everything() -> None:
    """Mean subtraction removes the vectors that are the same at all inputs; the two random ones stay."""
    where = point(600, 40, width=16, depth=1, outputs=1, normalization="last-mean")
    seen = measured(where, "explicit", EXTREMES, 0, 1)
    whole = measured(where, "explicit", {"fim": {}}, 0, 1)
    assert streams.PROBES == 6
    np.testing.assert_allclose(seen["fim_lambda_max"], whole["fim_lambda_max"], rtol=1e-10)


def test_what_has_no_meaning_is_refused() -> None:
    nothing = point(2, outputs=1, parameterization="ntk", sigma_w2=0.0)
    for name in ("ntk", "fim"):
        assert OBSERVABLES[name].check(nothing, {}) == [
            'the parameters of "ntk", W = sqrt(sigma_w2/M) w, have no meaning at sigma_w2 = 0; use "standard"'
        ]
