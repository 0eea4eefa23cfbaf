"""Who predicts what: programs against dense theory and sampled networks, reasons, predictors of users."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mcnet import predictions
from mcnet.backend import get_backend
from mcnet.commands import theory
from mcnet.errors import UsageError
from mcnet.observables.measure import measure
from mcnet.point import Inputs, Point, frozen
from mcnet.predictions import programs, registry
from mcnet.programs.names import ProgramError
from mcnet.request import Request
from mcnet.theory import finite_width
from tests.network_points import point

PAIR = Inputs("pair", 2, 256, 1.0, 0.5)


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten."""
    monkeypatch.setattr(registry, "_TABLE", {name: list(found) for name, found in registry._TABLE.items()})


def where(architecture: str = "dense", inputs: Inputs = PAIR, width: int = 256, **changes: Any) -> Point:
    keys = frozen(changes.pop("keys", {}))
    made = point(architecture=architecture, width=width, outputs=changes.pop("outputs", 1), **changes)
    return replace(made, inputs=inputs, parameters=keys)


@pytest.mark.parametrize("parameterization", ["standard", "ntk", "pdlt"])
def test_the_program_of_a_dense_network_is_predicted_as_dense_theory_does(parameterization: str) -> None:
    ensemble = predictions.Ensemble.of(where(parameterization=parameterization, train_biases=True))
    known = finite_width.coefficients(ensemble.gram, "tanh", "gaussian", 1.7, 0.3, 3, parameterization, True)
    close = {"rtol": 1e-9}

    def by_program(name: str, inputs: tuple[int, ...]) -> Any:
        found = registry._TABLE[name][-1](ensemble, inputs)  # asked last: of any architecture
        by_hand = predictions.predict(name, ensemble, inputs)
        np.testing.assert_allclose(by_hand.limit, found.limit, **close)
        np.testing.assert_allclose(by_hand.a1, found.a1, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(by_hand.v1[1:], found.v1[1:], rtol=1e-6, atol=1e-9)
        return found.limit

    np.testing.assert_allclose(by_program("q", (1,))[1:], known.q_limit[:, 1, 1], **close)
    np.testing.assert_allclose(by_program("q_hat", (0,)), known.q_hat_limit[:, 0, 0], **close)
    np.testing.assert_allclose(by_program("c", (0, 1))[1:], known.c_limit, **close)
    np.testing.assert_allclose(by_program("q_tilde", (0,))[1:], known.q_tilde_limit[:, 0, 0], **close)
    for a, b in ((0, 0), (0, 1), (1, 1)):
        np.testing.assert_allclose(by_program("ntk", (a, b)), known.ntk_limit[a, b], **close)


CASES: dict[str, dict[str, Any]] = {
    "post": {"architecture": "residual", "keys": {"block": "post", "skip": 0.8}},
    "two": {"architecture": "residual", "keys": {"block": "two", "sigma_v2": 1.2, "branch": "1/sqrt(depth)"}},
    "recurrent": {"architecture": "recurrent", "keys": {"leak": 1.0, "tied": False}},
}


@pytest.mark.parametrize("case", CASES)
def test_sampled_networks_have_the_limit_that_is_predicted(case: str) -> None:
    """Width 256: the rest is of order 1/M, errors 0.1 to 0.5 %; sigma_w2 25 % off is refused."""
    made = where(**CASES[case])
    measures: dict[str, dict[str, Any]] = {"q": {}, "c": {}, "q_tilde": {}, "ntk": {}}
    found = {
        part.variable.name: part.values
        for part in measure(made, Request(measures, 3, "conditioned"), 0, 400, get_backend("cpu"))
    }
    for name, inputs, read in (
        ("q", (0,), lambda x: x[:, 0, 1:]),
        ("q_hat", (0,), lambda x: x[:, 0, 1:]),
        ("c", (0, 1), lambda x: x[:, 0, 1:]),
        ("q_tilde", (0,), lambda x: x[:, 0, 1:]),
        ("ntk", (0, 1), lambda x: x[:, 0, 1, None]),
    ):
        values = read(found[name]) / (256 if name == "ntk" else 1)
        mean, error = values.mean(0), values.std(0) / 20

        def score(of: Point, name: str = name, inputs: Any = inputs, mean: Any = mean, error: Any = error) -> float:
            limit = predictions.predict(name, predictions.Ensemble.of(of), inputs).limit[-mean.size :]
            return float(np.max(np.abs(mean - limit) / np.hypot(error, 1.5 / 256 * np.abs(limit))))

        assert score(made) < 4.0, name
        if name != "c":
            assert score(replace(made, sigma_w2=1.7 * 1.25)) > 4.0, name


def test_what_is_not_predicted_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **how: Any) -> Any:
        raise ProgramError("no product of two vectors")

    for name in ("limit", "expansion"):
        monkeypatch.setattr(programs, name, refuse)
    gated = predictions.Ensemble.of(where("gru"))
    assert "product of two vectors" in predictions.predict("q_hat", gated, (0,)).why_not
    assert np.isnan(predictions.predict("q_hat", gated, (0,)).limit).all()
    assert "without outputs" in predictions.predict("ntk", predictions.Ensemble.of(where(outputs=None)), (0, 0)).why_not
    last = predictions.Ensemble.of(where(normalization="last-batch"))
    assert "last-batch" in predictions.predict("fim_trace", last).why_not
    uniform = predictions.predict("q", predictions.Ensemble.of(where(weights="uniform")), (0,))
    assert np.isfinite(uniform.limit[1:]).all()
    assert np.isnan(uniform.a1).all()
    assert "no 1/M theory for uniform weights" in uniform.why_not
    assert predictions.predict("colour", gated).why_not == "there is no theory of colour"
    told = theory.of_point(where("gru"), Request({"q": {}}, 1))
    assert any("product of two vectors" in note for note in told["notes"])


def test_the_command_theory_has_the_parts_of_every_architecture() -> None:
    told = theory.of_point(where(**CASES["two"]), Request({"ntk": {}}, 1))["finite_width"]
    assert {name: len(part["limit"]) for name, part in told.items()} == {
        "q": 3,
        "q_hat": 4,
        "c": 3,
        "q_tilde": 3,
        "ntk": 2,
    }
    assert np.shape(told["ntk"]["limit"]) == (2, 2)


def test_a_predictor_of_a_user_is_asked_first_and_the_others_where_it_has_nothing() -> None:
    def mine(ensemble: predictions.Ensemble, inputs: tuple[int, ...]) -> predictions.Curve:
        if ensemble.point.architecture != "residual":
            raise predictions.Unknown("it is for residual networks")
        return predictions.curve(np.arange(4.0), a1=0.0, v1=0.25, exact=True)

    predictions.register("q", mine)
    found = predictions.predict("q", predictions.Ensemble.of(where(**CASES["post"])), (0,))
    assert found.limit.tolist() == [0, 1, 2, 3]
    assert found.v1.tolist() == [0.25] * 4
    assert np.isfinite(predictions.predict("q", predictions.Ensemble.of(where()), (0,)).limit[1:]).all()
    predictions.register("q", lambda ensemble, inputs: predictions.curve([1.0, 2.0]))
    with pytest.raises(UsageError, match="the prediction of q has"):
        predictions.predict("q", predictions.Ensemble.of(where()), (0,))


def test_fixed_inputs_that_are_added_to_what_has_a_mean_have_no_1_over_m_terms() -> None:
    """h + relu(W h): the mean of the input over its units counts; not with tanh, nor of inputs drawn anew."""
    post = {"architecture": "residual", "keys": {"block": "post"}, "depth": 2}
    single = Inputs("single", 1, 256, 1.0)
    fixed = predictions.predict("q_hat", predictions.Ensemble.of(where(**post, activation="relu", inputs=single)), (0,))
    assert np.isnan(fixed.a1).all()
    assert np.isfinite(fixed.limit).all()
    assert "inputs.fresh = true" in fixed.why_not
    for activation, fresh in (("relu", True), ("tanh", False)):
        inputs = replace(single, fresh=fresh)
        of = predictions.Ensemble.of(where(**post, activation=activation, inputs=inputs))
        assert np.isfinite(predictions.predict("q_hat", of, (0,)).a1).all()


@pytest.mark.parametrize("outputs", [1, 2])
def test_eigenvalues_of_programs_know_how_near_the_next_one_is(outputs: int) -> None:
    ensemble = predictions.Ensemble.of(where("recurrent", outputs=outputs, keys={"leak": 1.0, "tied": True}))
    theta = programs.kernel(ensemble, (0, 1))[0][0]
    low, high = np.linalg.eigvalsh(theta)

    def of(name: str) -> Any:
        return predictions.predict(name, ensemble)

    assert of("fim_trace").limit == pytest.approx(outputs * (low + high) / 2)
    assert of("fim_trace2").limit == pytest.approx(outputs * (low**2 + high**2) / 4)
    assert of("fim_lambda_top").limit == pytest.approx(high / 2)
    assert of("fim_lambda_top").room == pytest.approx((high - low) / 2)
    bound, least = of("learning_rate_bound"), of("ntk_lambda_min")
    if outputs == 1:
        assert (bound.limit, bound.room) == (pytest.approx(4 / high), pytest.approx(4 / high * (high - low) / high))
        assert (least.limit, least.room) == (pytest.approx(low), pytest.approx(high - low))
    else:  # every eigenvalue stands once for each output, and they part by M^(-1/2)
        for name in ("learning_rate_bound", "ntk_lambda_min", "fim_lambda_max"):
            assert np.isnan(of(name).limit).all()
            assert "meets other eigenvalues" in of(name).why_not
