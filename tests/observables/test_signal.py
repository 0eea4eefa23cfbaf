"""The door to sampling: layers, NaN, sub-batches, samplers, refusals; the same code on arrays of another library."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from network_points import GRADIENT, SIGNAL, measured, point
from strict_backend import STRICT
from threadpoolctl import threadpool_limits

from mcnet.backend import get_backend
from mcnet.errors import McnetError
from mcnet.observables import costs
from mcnet.observables.catalog import OBSERVABLES
from mcnet.observables.measure import estimate, measure, resolve_sampler
from mcnet.point import Inputs
from mcnet.request import Request


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("measures", [SIGNAL, GRADIENT], ids=["signal", "gradient"])
def test_sub_batches_change_no_bit(
    sampler: str, weights: str, measures: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = point(3, 29, width=37, weights=weights, fresh=True, outputs=2)
    whole = measured(where, sampler, measures, 0, 20, precision="mixed")
    monkeypatch.setattr(costs, "sub_batch", lambda *_: 7)
    parts = measured(where, sampler, measures, 0, 20, precision="mixed")
    monkeypatch.setattr(costs, "sub_batch", lambda *_: 1)
    some = measured(where, sampler, measures, 13, 15, precision="mixed")
    for name, values in whole.items():
        assert np.array_equal(parts[name], values, equal_nan=True), name
        assert np.array_equal(some[name], values[13:15], equal_nan=True), name


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize(
    "case",
    [
        {"count": 3, "dimension": 11, "outputs": 2, "fresh": True},
        {"count": 2, "dimension": 5, "weights": "orthogonal", "activation": "gelu"},
        {"count": 2, "activation": "relu", "sigma_b2": 0.0, "outputs": 1, "readout": "orthogonal"},
        {"count": 1, "activation": "leaky-relu"},
    ],
    ids=lambda case: " ".join(map(str, case.values())),
)
def test_the_code_is_that_of_any_array_library(sampler: str, case: dict[str, Any]) -> None:
    where = point(**case)
    measures = {name: options for name, options in GRADIENT.items() if where.inputs.count > 1 or name != "c"}
    ours = measured(where, sampler, measures, 0, 3)
    theirs = measured(where, sampler, measures, 0, 3, backend=STRICT)
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name], values, rtol=1e-11, atol=1e-13, err_msg=name)
    single = measured(where, sampler, measures, 0, 3, backend=STRICT, precision="mixed")
    for name, values in ours.items():
        np.testing.assert_allclose(single[name], values, rtol=1e-3, atol=1e-4, err_msg=name)


def test_the_fused_chain_serves_any_array_library() -> None:
    where = point(2, 11)
    ours, theirs = (measured(where, "conditioned", SIGNAL, 0, 3, backend=backend) for backend in (None, STRICT))
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name], values, rtol=1e-11, err_msg=name)


def test_layers_not_asked_for_are_nan() -> None:
    where = point(2)
    whole = measured(where, "conditioned", GRADIENT, 0, 4)
    undefined = {"q": [0], "q_hat": [], "c": [0], "q_ab": [0], "q_tilde": [0], "chi": [0, 1]}
    for name, layers in undefined.items():
        assert whole[name].shape[2] == 4
        assert np.array_equal(np.isnan(whole[name]).any((0, 1)), np.isin(np.arange(4), layers)), name
    some = measured(
        where, "conditioned", {name: {**options, "layers": [0, 3]} for name, options in GRADIENT.items()}, 0, 4
    )
    for name, values in some.items():
        assert np.array_equal(values[..., [0, 3]], whole[name][..., [0, 3]], equal_nan=True)
        assert np.all(np.isnan(values[..., 1:3]))
    assert OBSERVABLES["q"].check(where, {"layers": [2, 7]}) == ["layers: 7 lies beyond the depth 3"]
    assert OBSERVABLES["c"].check(point(1), {})


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
def test_dead_layers_are_exact_zeros_and_undefined_correlations(sampler: str) -> None:
    """Width 3, ReLU, no bias: P(all units off) = 2^-3 per layer; never a rounding error in place of a zero."""
    where = point(2, width=3, depth=6, activation="relu", sigma_w2=2.0, sigma_b2=0.0, outputs=1, fresh=True)
    measures = {"q": {}, "c": {}, "q_tilde": {}, "chi": {}}
    seen = measured(where, sampler, measures, 0, 2000, precision="mixed")
    dead = seen["q_hat"] == 0.0  # (N, T, layer)
    share = dead[:, 0].mean(0)
    expected = 1 - (1 - 2.0**-3) ** np.arange(7)
    assert np.all(np.abs(share - expected) <= 5 * np.sqrt(expected * (1 - expected) / 2000))
    assert np.all(dead[..., 1:] >= dead[..., :-1])
    ever = dead[..., -1:]
    assert np.array_equal(seen["q_tilde"][..., 1:] == 0.0, np.broadcast_to(ever, (2000, 2, 6)))
    assert np.array_equal(np.isnan(seen["chi"][..., 2:]), np.broadcast_to(ever, (2000, 2, 5)))
    either = (seen["q"] == 0.0).any(1)[:, None, :]
    assert np.array_equal(np.isnan(seen["c"][..., 1:]), either[..., 1:])


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
def test_threads_change_no_bit(sampler: str) -> None:
    """Long sums are those that BLAS would share out among threads."""
    where = point(2, width=20000 if sampler == "conditioned" else 600, depth=2, outputs=1)
    results = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads, user_api="blas"):
            results.append(measured(where, sampler, {"q": {}, "q_tilde": {}}, 0, 2, precision="mixed"))
    for name, values in results[0].items():
        assert np.array_equal(results[1][name], values, equal_nan=True), name


def test_numbers_beyond_their_range_are_refused_by_name() -> None:
    where = point(1, depth=300, width=16, activation="relu", sigma_w2=8.0, sigma_b2=0.0)
    with pytest.raises(McnetError, match=r"q is not finite from layer \d+ on at width 16, depth 300, relu"):
        measured(where, "explicit", {"q": {}}, 0, 3, precision="mixed")
    assert np.all(np.isfinite(measured(where, "explicit", {"q": {}}, 0, 3)["q_hat"]))
    with pytest.raises(McnetError, match="beyond what float32 holds"):
        measured(replace(where, sigma_w2=0.5), "explicit", {"q": {}}, 0, 3, precision="mixed")


def test_every_blas_runs_on_one_thread() -> None:
    """That of SciPy too, however late it is imported."""
    code = (
        "from mcnet.backend import one_thread\n"
        "with one_thread():\n"
        "    import scipy.linalg, threadpoolctl\n"
        "    print(*[one['num_threads'] for one in threadpoolctl.threadpool_info() if one['user_api'] == 'blas'])\n"
    )
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    found = subprocess.run([sys.executable, "-c", code], env=free, capture_output=True, text=True, check=True)
    assert set(found.stdout.split()) == {"1"}


def request(sampler: str = "auto", **measures: Any) -> Request:
    return Request(measures or {"q": {}}, 1, sampler)


def test_the_sampler_that_auto_takes() -> None:
    wide = point(2, width=512)
    assert resolve_sampler(wide, request()) == "conditioned"
    assert resolve_sampler(wide, request(q_tilde={})) == "conditioned"
    assert resolve_sampler(wide, request("explicit")) == "explicit"
    assert resolve_sampler(replace(wide, weights="uniform"), request()) == "explicit"
    assert resolve_sampler(replace(wide, weights="orthogonal", outputs=2), request(chi={})) == "conditioned"
    many = replace(wide, inputs=Inputs("gaussian", 512, 512, 1.0, 0.0))
    assert resolve_sampler(many, request()) == "explicit"
    assert resolve_sampler(replace(wide, outputs=300), request(q_tilde={})) == "explicit"


def test_estimates_follow_the_point() -> None:
    small, large = (estimate(point(2, width=width), request("explicit")) for width in (64, 1024))
    assert large.bytes_per_network > 10 * small.bytes_per_network
    assert large.seconds_per_network > 10 * small.seconds_per_network
    stored = estimate(point(3), request("conditioned", q={}, c={"q_ab": True}, q_tilde={})).stored_bytes_per_network
    assert stored == 8 * sum(
        values[0].size
        for values in measured(point(3), "conditioned", {"q": {}, "c": {"q_ab": True}, "q_tilde": {}}, 0, 1).values()
    )
    huge = point(4, width=10**6, depth=10)
    for measures in ({"q": {}}, {"q_tilde": {}}):
        assert estimate(huge, Request(measures, 1)).bytes_per_network < 2e9


def test_variables_describe_themselves() -> None:
    for where in (point(2), point(2, outputs=3)):
        for name, options in GRADIENT.items():
            for variable in OBSERVABLES[name].variables(where, options):
                assert variable.group == "signal"
                assert all(variable.attributes.values())
    results = measure(point(2), Request(GRADIENT, 1, "conditioned"), 3, 5, get_backend("cpu"))
    assert [part.variable.name for part in results] == ["q", "q_hat", "c", "q_ab", "q_tilde", "chi"]
    assert all(part.values.shape[0] == 2 for part in results)
