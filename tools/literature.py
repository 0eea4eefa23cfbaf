"""Published numbers, predicted and measured again: ``python -m tools.literature`` (``make literature``).

Runs the scenarios of ``scenarios/literature`` (a finished run is not run again) and writes ``docs/literature.md``: of
each number of ``data/reference`` what was published, what theory gives in the limit and at the width that was sampled,
and what the sampled networks say, with its standard error.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mcnet
from mcnet.theory import finite_width, fisher, jacobian, mean_field, normalization, training
from mcnet.theory.exact import laws

ROOT = Path(__file__).resolve().parents[1]
SCENARIOS = ROOT / "scenarios" / "literature"
RUNS = ROOT / "data" / "runs" / "literature"
Reals = NDArray[Any]


@dataclass(frozen=True)
class Number:
    """One published number; NaN where there is no such value.

    Attributes
    ----------
    what : str
        Quantity and setting.
    published : float
    limit : float
        Of theory, M -> infinity (or at every width).
    expected : float
        Of theory at the width that was sampled.
    measured, error : float
        Of the sampled networks, with the standard error.
    """

    what: str
    published: float
    limit: float = math.nan
    expected: float = math.nan
    measured: float = math.nan
    error: float = math.nan

    @property
    def z(self) -> float:
        """Measured minus expected in standard errors."""
        return (self.measured - self.expected) / self.error


@dataclass(frozen=True)
class Section:
    """What one scenario reproduces, or, where there is none, a few lines of NumPy."""

    scenario: str
    source: str
    numbers: Callable[[Any], Iterator[Number]]
    note: str = ""
    title: str = ""


def jackknife(samples: Reals, function: Callable[[Reals], Reals]) -> tuple[float, float]:
    """A function of means over networks and its delete-one error.

    Parameters
    ----------
    samples : ndarray, shape (N, k)
    function : callable
        From means (..., k) to numbers (...).

    Returns
    -------
    value, error : float
    """
    size = len(samples)
    without = (samples.sum(axis=0) - samples) / (size - 1)
    values = function(without)
    spread = np.sum((values - values.mean(axis=0)) ** 2) * (size - 1) / size
    return float(function(samples.mean(axis=0))), float(np.sqrt(spread))


def reference(name: str) -> dict[str, Any]:
    """One file of ``data/reference``."""
    return tomllib.loads((ROOT / "data" / "reference" / f"{name}.toml").read_text("utf-8"))


def _first(means: Reals) -> Reals:
    return np.asarray(means[..., 0])


def _point(tree: Any, group: str, **wanted: Any) -> Any:
    """The one point of a group with these coordinates."""
    data = tree[group].to_dataset()
    keep = np.ones(data.sizes["point"], dtype=bool)
    for name, value in wanted.items():
        values = data[name].values
        keep &= np.isclose(values, value, rtol=1e-3) if isinstance(value, float) else values == value
    assert keep.sum() == 1, f"{wanted}: {keep.sum()} points"
    return data.isel(point=int(np.flatnonzero(keep)[0]))


def _critical(point: Any, activation: str, at: dict[str, Any], name: str) -> Iterator[Number]:
    """Length at the last layer, and the growth of squared gradients a layer, at a critical point."""
    width, depth = int(point["width"]), int(point["depth"])
    q0 = (at["q"] - at["sigma_b2"]) / at["sigma_w2"]
    theory = finite_width.coefficients(
        [[q0]], activation, "gaussian", at["sigma_w2"], at["sigma_b2"], depth, "ntk", True
    )
    q = point["q"].isel(input=0).sel(layer=depth).values[:, None]
    value, error = jackknife(q, _first)
    expected = float(theory.q_limit[-1, 0, 0] + theory.q_mean[-1, 0, 0] / width)
    yield Number(f"{name}: q", at["q"], float(theory.q_limit[-1, 0, 0]), expected, value, error)

    def growth(ends: Reals) -> Reals:
        return np.asarray((ends[..., 0] / ends[..., 1]) ** (1 / (depth - 1)))

    ends = point["q_tilde"].isel(input=0).sel(layer=[1, depth]).values
    value, error = jackknife(ends, growth)
    limit, shift = theory.q_tilde_limit[[0, -1], 0, 0], theory.q_tilde_mean[[0, -1], 0, 0]
    expected = float(growth(limit + shift / width))
    yield Number(f"{name}: growth of squared gradients a layer", 1.0, float(growth(limit)), expected, value, error)


def critical_line(tree: Any) -> Iterator[Number]:
    """Tanh: the critical variance, the length there, and gradients that neither grow nor vanish."""
    for at in reference("mean_field")["critical"]:
        name = f"sigma_b2 = {at['sigma_b2']:g}"
        yield Number(f"{name}: sigma_w2", at["sigma_w2"], mean_field.critical_sigma_w2("tanh", at["sigma_b2"]))
        yield from _critical(_point(tree, "signal", sigma_b2=at["sigma_b2"]), "tanh", at, name)


def double_critical(activation: str) -> Callable[[Any], Iterator[Number]]:
    """The point where both slopes are 1."""

    def numbers(tree: Any) -> Iterator[Number]:
        (at,) = (each for each in reference("mean_field")["double_critical"] if each["activation"] == activation)
        found = mean_field.double_critical(activation)
        for name, value in zip(("sigma_w2", "sigma_b2"), found, strict=False):
            yield Number(f"{activation}: {name}", at[name], float(value))
        yield from _critical(_point(tree, "signal"), activation, at, activation)

    return numbers


def kernel_depth(tree: Any) -> Iterator[Number]:
    """Relu kernels of l weight layers: slopes of the logarithm, and linear growth at criticality."""
    for at in reference("tangent")["depth"]:
        depths = sorted({int(depth) for depth in tree["depth"].values})
        layers = np.array(depths) + 1.0
        points = [_point(tree, "ntk", sigma_w2=at["sigma_w2"], depth=depth) for depth in depths]
        means, errors = np.array([jackknife(point["ntk"].values.reshape(-1, 1), _first) for point in points]).T
        if "log_slope" not in at:
            for layer, mean, error in zip(layers, means, errors, strict=True):
                yield Number(f"sigma_w2 = 2: kernel of {layer:.0f} weight layers", layer, layer, layer, mean, error)
            continue
        weight = (layers - layers.mean()) / np.sum((layers - layers.mean()) ** 2)
        exact = weight @ (np.log(layers) + layers * np.log(at["sigma_w2"] / 2))
        error = np.sqrt(weight**2 @ (errors / means) ** 2)
        name = f"sigma_w2 = {at['sigma_w2']:g}: slope of the logarithm a layer, layers 10 to 30"
        yield Number(name, at["log_slope"], exact, exact, weight @ np.log(means), error)


def kernel_homogeneous(tree: Any) -> Iterator[Number]:
    """Mean kernel over its limit: 1 at every width."""
    for position in range(tree.sizes["point"]):
        point = tree["ntk"].to_dataset().isel(point=position)
        slope = 0.0 if str(point["activation"].values) == "relu" else 0.3
        gain = float(point["sigma_w2"]) * (1 + slope**2) / 2
        depth = int(point["depth"])
        ratio = point["ntk"].values.reshape(-1, 1) / ((depth + 1) * gain**depth)
        name = f"{point['activation'].values}, width {int(point['width'])}: mean kernel over its limit"
        yield Number(name, 1.0, 1.0, 1.0, *jackknife(ratio, _first))


def length_moments(tree: Any) -> Iterator[Number]:
    """E K^2 / (E K)^2 after five layers."""
    for at in reference("tangent")["length_second_moment"]:
        for width in (50, 200):
            point = _point(tree, "signal", activation=at["activation"], width=width)
            depth = int(point["depth"])
            length = point["q_hat"].isel(input=0).sel(layer=depth).values
            published = (1 + at["numerator"] / width) ** depth
            exact = laws.length_moments(float(at["activation"] == "linear"), at["sigma_w2"], [width] * depth)
            expected = exact.second / exact.mean**2
            found = jackknife(np.stack([length, length**2], axis=1), lambda mean: mean[..., 1] / mean[..., 0] ** 2)
            yield Number(f"{at['activation']}, width {width}", published, 1.0, expected, *found)


def fuss_catalan(tree: Any) -> Iterator[Number]:
    """Moments and edge of products of Gaussian matrices."""
    for depth in (1, 2, 4):
        point = _point(tree, "jacobian", depth=depth)
        moments = point["jacobian_moment"].values
        for order in (2, 3):
            published = math.comb((depth + 1) * order, order) / (depth * order + 1)
            limit = float(jacobian.moments("linear", "gaussian", 1.0, 0.0, depth, order)[-1])
            exact = jacobian.second_moments("linear", "gaussian", 1.0, depth, int(point["width"])).second
            found = jackknife(moments[:, order - 1 : order], _first)
            yield Number(f"depth {depth}: moment {order}", published, limit, exact if order == 2 else math.nan, *found)
        edge = (depth + 1) ** (depth + 1) / depth**depth
        largest = (point["jacobian_sv"].values ** 2).max(axis=-1)[:, None]
        limit = jacobian.spectrum("linear", "gaussian", 1.0, 0.0, depth).lambda_max
        yield Number(f"depth {depth}: largest eigenvalue", edge, limit, math.nan, *jackknife(largest, _first))


def _variance(means: Reals) -> Reals:
    return np.asarray(means[..., 1] - means[..., 0] ** 2)


def piecewise_linear(tree: Any) -> Iterator[Number]:
    """Variance of the spectrum of critical relu networks: L / p with p = 1/2."""
    for depth in (2, 4):
        point = _point(tree, "jacobian", depth=depth)
        exact = jacobian.second_moments("relu", "gaussian", 2.0, depth, int(point["width"]))
        limit = jacobian.moments("relu", "gaussian", 2.0, 0.0, depth, 2)
        found = jackknife(point["jacobian_moment"].values[:, :2], _variance)
        expected = exact.second - exact.mean**2
        yield Number(f"relu, depth {depth}: variance", 2.0 * depth, float(_variance(limit)), expected, *found)


def isometry(tree: Any) -> Iterator[Number]:
    """Relative variance and edge of an orthogonal network of depth 50."""
    (at,) = reference("jacobian")["orthogonal"]
    point = _point(tree, "jacobian")
    law = at["activation"], "orthogonal", at["sigma_w2"], at["sigma_b2"], at["depth"]
    limit = jacobian.moments(*law, 2)

    def relative(means: Reals) -> Reals:
        return np.asarray(means[..., 1] / means[..., 0] ** 2 - 1)

    shift = jacobian.moment_coefficients(*law)
    expected = float(relative(shift.limit[-1] + shift.mean[-1] / int(point["width"])))
    found = jackknife(point["jacobian_moment"].values[:, :2], relative)
    yield Number("relative variance", at["relative_variance"], float(relative(limit)), expected, *found)
    yield Number("the same, measured with 4 networks", at["measured_relative_variance"], math.nan, expected, *found)
    critical = float(mean_field.critical_sigma_w2(at["activation"], at["sigma_b2"]))
    there = relative(jacobian.moments(at["activation"], "orthogonal", critical, at["sigma_b2"], at["depth"], 2))
    published = at["relative_variance_at_exact_criticality"]
    yield Number(f"relative variance at sigma_w2 = {critical:.8f}", published, float(there))
    largest = (point["jacobian_sv"].values ** 2).max(axis=-1)[:, None]
    edge = jacobian.spectrum(*law).lambda_max
    yield Number(
        "largest eigenvalue, measured with 4 networks",
        at["measured_largest_eigenvalue"],
        edge,
        math.nan,
        *jackknife(largest, _first),
    )


def fisher_largest(tree: Any) -> Iterator[Number]:
    """The largest eigenvalue of the Fisher information, with biases trained and without; the analysis has its error."""
    found = mcnet.table.comparisons(RUNS / "fisher").to_dataframe()
    for at in reference("fisher")["lambda_max"]:
        name = at["activation"]
        point = _point(tree, "fim", activation=name)
        law = name, at["sigma_w2"], at["sigma_b2"], int(point["depth"]), int(point["width"]), int(point["inputs"]), 1
        weights, biases = (fisher.eigenvalue_statistics(*law, 1.0, 0.0, each).lambda_max for each in (False, True))
        row = found[(found["statistic"] == "lambda_max") & (found["activation"] == name)].iloc[0]
        yield Number(f"{name}, weights trained", at["weights_trained"], weights)
        mine = float(row["measured"]), float(row["error"])
        yield Number(f"{name}, biases too", at["biases_trained"], biases, float(row["predicted"]), *mine)
        yield Number(f"{name}, measured with 12 networks", at["measured"], biases, math.nan, *mine)


def batch_norm(tree: Any) -> Iterator[Number]:
    """Growth of squared gradients a layer, once past the input."""
    point = _point(tree, "signal")
    batch, depth = int(point["inputs"]), int(point["depth"])
    total = point["q_tilde"].mean("input").sel(layer=[2, depth - 1]).values
    expected = normalization.chi("relu", batch)
    found = jackknife(total, lambda ends: (ends[..., 0] / ends[..., 1]) ** (1 / (depth - 3)))
    yield Number(f"relu, batch {batch}: growth a layer", math.pi / (math.pi - 1), expected, expected, *found)


def catapult(_: Any) -> Iterator[Number]:
    """Linear networks f = v . u / sqrt(n) trained by gradient descent: the part of them that converges."""
    n, networks, steps = 1000, 400, 200
    u, v = np.random.default_rng(1).standard_normal((2, networks, n))
    f_0, lambda_0 = np.sum(u * v, axis=1) / np.sqrt(n), np.sum(u**2 + v**2, axis=1) / n
    for kappa, published in ((1.9, 1.0), (2.5, 1.0), (3.5, 1.0), (4.5, 0.0)):
        eta = kappa / lambda_0
        with np.errstate(over="ignore", invalid="ignore"):
            expected = np.abs(training.catapult(f_0, lambda_0, n, eta, steps).f[-1]) < 1e-3
            weights = [u, v]
            for _step in range(steps):
                slope = (eta * np.sum(weights[0] * weights[1], axis=1) / n)[:, None]
                weights = [weights[0] - slope * weights[1], weights[1] - slope * weights[0]]
            converged = np.abs(np.sum(weights[0] * weights[1], axis=1)) < 1e-3 * np.sqrt(n)
        name = f"learning rate {kappa} / lambda_0: part that converges"
        yield Number(name, published, published, float(expected.mean()), float(converged.mean()), math.nan)


PENNINGTON = "Pennington, Schoenholz, Ganguli 2017, arXiv:1711.04735"
BOOK = "Roberts, Yaida, Hanin 2022, arXiv:2106.10165"
SECTIONS = (
    Section("critical_line", f"The first pair of {PENNINGTON}; digits recomputed", critical_line),
    Section("double_critical_gelu", f"{BOOK}; digits recomputed", double_critical("gelu")),
    Section("double_critical_silu", f"{BOOK}; digits recomputed", double_critical("silu")),
    Section("kernel_depth", "Guillen, Misof, Gerken 2026, and a public reproduction", kernel_depth),
    Section("kernel_homogeneous", "Guillen, Misof, Gerken 2026", kernel_homogeneous),
    Section("length_moments", "Hanin, Nica 2019, arXiv:1909.05989, for the exponent", length_moments),
    Section(
        "fuss_catalan",
        "Fuss-Catalan laws of products of Gaussian matrices",
        fuss_catalan,
        "The mean of the largest eigenvalue lies below the edge at finite width; its shift is not predicted.",
    ),
    Section("piecewise_linear", PENNINGTON, piecewise_linear),
    Section(
        "isometry",
        f"Setting of {PENNINGTON}; digits recomputed by series",
        isometry,
        "The limit of the largest eigenvalue is the edge of the law.",
    ),
    Section(
        "fisher",
        "Settings of Karakida, Akaho, Amari 2019, arXiv:1806.01316; recomputed",
        fisher_largest,
        "Predictions are of leading order in the width; errors count what they neglect.",
    ),
    Section(
        "batch_norm",
        "Yang et al. 2019, arXiv:1902.08129: the limit of large batches",
        batch_norm,
        "The limit and the prediction are those of this batch at infinite width.",
    ),
    Section(
        "",
        "Lewkowycz et al. 2020, arXiv:2003.02218: between 2 and 4 a network ends at a flatter point",
        catapult,
        "400 networks of one hidden layer of width 1000, trained weight by weight; at this width: the exact map.",
        "Catapult",
    ),
)


def main() -> None:
    """Run what has not been run, and write the page."""
    from tools import literature_page

    found = []
    for section in SECTIONS:
        print(section.scenario or section.title, flush=True)
        if not section.scenario:
            found.append((section, section.title, list(section.numbers(None))))
            continue
        scenario, directory = SCENARIOS / f"{section.scenario}.toml", RUNS / section.scenario
        mcnet.run(scenario, directory, quiet=True)
        title = tomllib.loads(scenario.read_text("utf-8"))["title"]
        found.append((section, title, list(section.numbers(mcnet.open(directory)))))
    (ROOT / "docs" / "literature.md").write_text(literature_page.page(found), "utf-8")


if __name__ == "__main__":
    main()
