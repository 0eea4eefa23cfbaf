"""Networks in training against theory: powers of the width, the catapult, boundaries, outputs at infinite width."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from mcnet_analysis.judge.family import Judged
from mcnet_analysis.judge.online import NO_TURN, Online, turns
from mcnet_analysis.judge.table import GROWTH, Row, comparison
from mcnet_analysis.predict import training as theory
from mcnet_analysis.predict.training import Recipe
from mcnet_analysis.statistics import statements
from mcnet_analysis.statistics.estimate import Floats
from mcnet_analysis.statistics.statements import Statement
from mcnet_analysis.study import Column, Family, Setting
from scipy.special import chdtrc

if TYPE_CHECKING:
    import xarray

LEAST = 3
"""Widths from which on a power is fitted."""

POWERS = (
    *("linear_deviation", "ntk_drift", "activation_size", "activation_change", "output_change"),
    *("kernel_size", "kernel_change"),
)
LARGEST = "linear_deviation"
"""Of this the largest value along the training counts: at its end it is exponentially small in some networks."""

BOUNDARIES = ("boundary_instability", "boundary_monotone", "boundary_divergence")
TWO_POWERS = (-0.5, -0.75)
"""Of the width: by which kinked activations leave the linear dynamics in the mean, and by chance."""


@dataclass(frozen=True)
class Course:
    """A quantity over the widths: means over networks and standard errors, (W, K); ``at`` the K places.

    Attributes
    ----------
    name : str
    at : ndarray, shape (K,)
        Steps, or learning rates.
    rate : float or None
        The learning rate, where there are several.
    """

    name: str
    at: Floats
    mean: Floats
    error: Floats
    rate: float | None = None


@dataclass(frozen=True)
class Power:
    """A quantity against the width at the last recorded step, and the power that was fitted and predicted."""

    name: str
    layer: int | None
    mean: Floats
    error: Floats
    exponent: float
    exponent_error: float
    predicted: float
    terms: Floats


@dataclass(frozen=True)
class Trained:
    """What was seen of a family of widths in training."""

    family: Family
    rates: tuple[float, ...]
    bound: bool
    losses: tuple[Course, ...]
    powers: tuple[Power, ...]
    boundaries: tuple[Course, ...]
    peaks: tuple[Course, ...]
    predicted_peaks: Floats
    final: Floats
    diverged: Floats
    known_loss: Floats
    bounds: Floats
    online: Online | None = None


class _Reader:
    """Values by network of the group /training of a family."""

    def __init__(self, tree: xarray.DataTree, family: Family) -> None:
        self.family, self.data = family, tree["training"].to_dataset()
        self.rates = self.data.sizes.get("learning_rate", 1)

    def has(self, name: str) -> bool:
        return name in self.data

    def of(self, name: str, setting: Setting, rate: int = 0, **where: int) -> Floats:
        """(N, ...) at one learning rate, networks first."""
        array = self.data[name].isel(point=setting.index, network=slice(0, setting.networks))
        picks = {**where, **({"learning_rate": rate} if "learning_rate" in array.dims else {})}
        array = array.isel({dim: place for dim, place in picks.items() if dim in array.dims})
        rest = [dim for dim in array.dims if dim != "network"]
        return np.asarray(array.transpose("network", *rest).values, dtype=np.float64)

    def samples(self, name: str, rate: int = 0, **where: int) -> list[Floats]:
        """Of each width the networks that have a value."""
        found = [self.of(name, setting, rate, **where) for setting in self.family.settings]
        return [values[np.isfinite(values)] for values in found]

    def largest(self, name: str) -> list[Floats]:
        """Of each width the largest value over the recorded steps, of networks that have them all."""
        found = [self.of(name, setting) for setting in self.family.settings]
        return [values[np.isfinite(values).all(axis=1)].max(axis=1) for values in found]


def judge_training(tree: xarray.DataTree, family: Family, judged: Judged) -> tuple[Judged, Trained | None]:
    """Rows about networks in training joined to a judged family; what figures show."""
    content = json.loads(str(tree.attrs.get("train_json", "{}")))
    if "training" not in tree.children or not content:
        return judged, None
    reader, how = _Reader(tree, family), theory.recipe(content, family.first)
    rows: list[tuple[Statement, Row]] = []
    fits: list[Row] = []
    notes: list[str] = []
    powers = _powers(reader, how, rows, fits, notes)
    boundaries = _boundaries(reader, rows)
    peaks, predicted = _catapult(reader, how, rows)
    known = _outputs(tree, reader, how, rows)
    online = _online(tree, reader, how, rows, notes)
    weighed = [(statement, row["observable"]) for statement, row in rows]
    verdict, information = statements.weigh(weighed)
    if judged.verdict.dof:
        for _, row in rows:
            row["left_out"] = row["left_out"] or "comparisons in training (the networks before it are weighed)"
        verdict, information = judged.verdict, judged.information
    joined = judged._replace(
        comparisons=[*judged.comparisons, *(row for _, row in rows)],
        fits=[*judged.fits, *fits],
        verdict=verdict,
        information=information,
        notes=[*(note for note in judged.notes if judged.columns), *notes],
    )
    losses, final, diverged = _losses(reader, how)
    trained = Trained(
        family, how.rates, how.bound, losses, tuple(powers), tuple(boundaries), tuple(peaks), predicted, final,
        diverged, known, _bounds(tree, family), online,
    )  # fmt: skip
    return joined, trained


def _bounds(tree: xarray.DataTree, family: Family) -> Floats:
    """Median of 2/lambda_max before training at each width; NaN where it was not measured."""
    found = np.full(len(family.settings), np.nan)
    if "fim" in tree.children and "learning_rate_bound" in tree["fim"].to_dataset():
        array = tree["fim"].to_dataset()["learning_rate_bound"]
        for place, setting in enumerate(family.settings):
            found[place] = float(np.nanmedian(array.isel(point=setting.index, network=slice(0, setting.networks))))
    return found


def _row(
    statement: Statement, column: Column, point: Row, statistic: str, order: str, left_out: str | None = None
) -> tuple[Statement, Row]:
    row = comparison(
        column, point, statistic, order,
        measured=statement.measured, statistical=statement.statistical, neglected=statement.neglected,
        predicted=statement.predicted, networks=statement.networks, support=statement.networks, left_out=left_out,
    )  # fmt: skip
    return statement, row


def _powers(
    reader: _Reader, how: Recipe, rows: list[tuple[Statement, Row]], fits: list[Row], notes: list[str]
) -> list[Power]:
    """Quantities at the last recorded step against the width, at the first learning rate."""
    family, widths = reader.family, reader.family.widths.astype(np.float64)
    known = theory.exponents(family.first, how)
    found: list[Power] = []
    last = len(how.record) - 1
    if len(widths) < LEAST:
        return found
    if theory.kinked(family.first) and (reader.has("linear_deviation") or reader.has("ntk_drift")):
        notes.append(theory.KINKED)
    for name in POWERS:
        if not reader.has(name):
            continue
        depth = family.first.depth
        for layer in range(1, depth + 1) if "layer" in reader.data[name].dims else (None,):
            where = {} if layer is None else {"layer": layer}
            samples = reader.largest(name) if name == LARGEST else reader.samples(name, recorded_step=last, **where)
            if min(sample.size for sample in samples) < 2 or not all(np.any(sample > 0.0) for sample in samples):
                continue
            predicted = known.get(name, np.nan)
            statement = statements.exponent(widths, samples, predicted, GROWTH * depth)
            column = Column(name, (), layer)
            terms = np.full(2, np.nan)
            if np.isfinite(predicted) and statement is not None:
                rows.append(_row(statement, column, family.point, "exponent", "limit"))
            elif theory.kinked(family.first) and how.lazy and name in ("linear_deviation", "ntk_drift"):
                terms = _two_powers(widths, samples, column, family, rows, fits)
            mean = np.array([sample.mean() for sample in samples])
            error = np.array([sample.std(ddof=1) / np.sqrt(sample.size) for sample in samples])
            measured = (np.nan, np.nan) if statement is None else (statement.measured, statement.statistical)
            found.append(Power(name, layer, mean, error, *measured, predicted, terms))
    return found


def _two_powers(
    widths: Floats,
    samples: Sequence[Floats],
    column: Column,
    family: Family,
    rows: list[tuple[Statement, Row]],
    fits: list[Row],
) -> Floats:
    """a M^(-1/2) + b M^(-3/4): fitted to all widths; and the largest width against what the others say of it."""
    mean = np.array([sample.mean() for sample in samples])
    error = np.array([sample.std(ddof=1) / np.sqrt(sample.size) for sample in samples])
    powers = np.stack([widths**power for power in TWO_POWERS], axis=1)

    def weights(at: slice) -> Floats:
        """Of the values in the two coefficients."""
        return np.asarray(np.linalg.pinv(powers[at] / error[at, None]) / error[at])

    whole = weights(slice(None))
    terms = whole @ mean
    chi2 = float((((mean - powers @ terms) / error) ** 2).sum())
    free = len(widths) - 2
    fits.append(
        {
            "observable": column.observable,
            "point": family.point,
            **column.place,
            "statistic": "mean",
            "model": "a M^-1/2 + b M^-3/4",
            "coefficients": dict(zip("ab", terms.tolist(), strict=True)),
            "errors": dict(zip("ab", np.sqrt((whole**2) @ error**2).tolist(), strict=True)),
            "chi2": chi2,
            "dof": free,
            "p_value": float(chdtrc(free, chi2)) if free else np.nan,
        }
    )
    if len(widths) > LEAST:
        others = weights(slice(0, -1))
        along = powers[-1] @ others  # the prediction for the largest width from the others
        parts = [-w * (x - m) for w, x, m in zip(along, samples, mean, strict=False)]
        parts.append(samples[-1] - mean[-1])
        told = float(along @ mean[:-1])
        third = GROWTH * abs(float(terms @ powers[-1])) / float(widths[0])  # of the next power, c/M
        statement = Statement(float(mean[-1]), told, third, tuple(parts))
        rows.append(_row(statement, column, family.settings[-1].point, "mean", "M^-1/2 + M^-3/4"))
    return np.asarray(terms)


def _boundaries(reader: _Reader, rows: list[tuple[Statement, Row]]) -> list[Course]:
    """Boundaries in units of 2/lambda_max; instability begins at 1 in the limit."""
    family, widths = reader.family, reader.family.widths.astype(np.float64)
    found = []
    for name in BOUNDARIES:
        if not reader.has(name):
            continue
        samples = reader.samples(name)
        if min(sample.size for sample in samples) < 2:
            continue
        mean = np.array([[sample.mean()] for sample in samples])
        error = np.array([[sample.std(ddof=1) / np.sqrt(sample.size)] for sample in samples])
        found.append(Course(name, np.zeros(1), mean, error))
        if name == "boundary_instability" and len(widths) >= LEAST:
            statement = statements.limit(widths, samples, 1.0, GROWTH, 0.0)
            rows.append(_row(statement, Column(name, (), None), family.point, "limit", "limit"))
    return found


def _catapult(reader: _Reader, how: Recipe, rows: list[tuple[Statement, Row]]) -> tuple[list[Course], Floats]:
    """Peak, end and time of the catapult of two-layer linear networks against their reduced map."""
    family = reader.family
    if not (theory.is_catapult(family.first, how) and reader.has("loss") and reader.has("learning_rate_of_network")):
        return [], np.empty(0)
    kappas = tuple(2.0 * rate for rate in how.rates)
    shape = (len(family.settings), len(kappas))
    mean, error, predicted = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    for place, setting in enumerate(family.settings):
        law = theory.catapult(setting.width, kappas, how.steps)
        for k, kappa in enumerate(kappas):
            loss, rate = reader.of("loss", setting, k), reader.of("learning_rate_of_network", setting, k)
            alive = np.isfinite(loss).all(axis=1)
            if alive.sum() < 2:
                continue
            peak = (2.0 * rate**2 / setting.width * loss.max(axis=1))[alive]
            quantities = [("catapult_height", peak, law.peak[k], law.peak_error[k])]
            step = loss.argmax(axis=1)[alive].astype(np.float64)
            quantities.append(("catapult_step", step, law.step[k], law.step_error[k]))
            if reader.has("sharpness"):
                end = reader.of("sharpness", setting, k)[:, -1] * rate
                quantities.append(("catapult_end", end[alive], law.curvature[k], law.curvature_error[k]))
            mean[place, k], error[place, k] = peak.mean(), peak.std(ddof=1) / np.sqrt(peak.size)
            predicted[place, k] = law.peak[k]
            for name, values, told, sampling in quantities:
                if not np.isfinite(told) or values.std() < 1e-9:
                    continue
                parts = tuple(values - values.mean() if i == place else np.empty(0) for i in range(shape[0]))
                statement = Statement(float(values.mean()), float(told), float(sampling), parts)
                point = {**setting.point, "kappa": kappa}
                rows.append(_row(statement, Column(name, (), None), point, "mean", "exact"))
    return [Course("catapult_height", np.array(kappas), mean, error)], predicted


def _outputs(tree: xarray.DataTree, reader: _Reader, how: Recipe, rows: list[tuple[Statement, Row]]) -> Floats:
    """Outputs and losses at recorded steps against infinite width; the predicted losses at all recorded steps."""
    family, widths = reader.family, reader.family.widths.astype(np.float64)
    first = family.first
    known = np.full(len(how.record), np.nan)
    if "input_gram" not in tree or len(how.rates) != 1:
        return known
    gram = np.asarray(tree.to_dataset()["input_gram"].values[first.index], dtype=np.float64)
    rate = how.rates[0]
    predicted = [theory.outputs(first, how, gram, rate, step) for step in how.record]
    if any(each is None for each in predicted):
        return known
    known = np.array([each.loss for each in predicted if each is not None])
    last = predicted[-1]
    assert last is not None
    growth = GROWTH * first.depth

    def note(name: str, samples: Sequence[Floats], told: float, place: tuple[int, ...], statistic: str) -> None:
        statement = statements.limit(widths, samples, told, growth, growth * abs(told))
        point = family.point if len(widths) >= LEAST else family.settings[int(np.argmax(widths))].point
        rows.append(_row(statement, Column(name, place, None), point, statistic, "limit"))

    if reader.has("output"):
        step = len(how.record) - 1
        for i in range(len(last.mean)):
            samples = [v[:, 0] for v in (reader.of("output", s, recorded_step=step, input=i) for s in family.settings)]
            samples = [sample[np.isfinite(sample)] for sample in samples]
            if min(sample.size for sample in samples) < 2:
                continue
            note("output", samples, float(last.mean[i]), (i,), "mean")
            squares = [(x - x.mean()) ** 2 * x.size / (x.size - 1) for x in samples]
            note("output", squares, float(last.variance[i]), (i,), "variance")
    if reader.has("loss"):
        for step, told in zip(how.record, known, strict=True):
            if step in (how.record[0], how.record[len(how.record) // 2], how.record[-1]):
                note("loss", [v[np.isfinite(v)] for v in reader.samples("loss", step=step)], float(told), (), "mean")
                rows[-1][1]["point"] = {**rows[-1][1]["point"], "step": step}
    return known


def _online(
    tree: xarray.DataTree, reader: _Reader, how: Recipe, rows: list[tuple[Statement, Row]], notes: list[str]
) -> Online | None:
    """The learning rate at which the loss of one input a step neither shrinks nor grows, where theory has one."""
    family, widths = reader.family, reader.family.widths.astype(np.float64)
    if "input_gram" not in tree or not reader.has("loss") or len(widths) < LEAST:
        return None
    gram = np.asarray(tree.to_dataset()["input_gram"].values[family.first.index], dtype=np.float64)
    predicted = theory.online_boundary(family.first, how, gram)
    window = int(np.linalg.matrix_rank(gram)) if predicted else 0  # steps that see every direction
    if predicted is None or 2 * window > how.steps + 1:
        return None
    losses = [[reader.of("loss", setting, k) for k in range(len(how.rates))] for setting in family.settings]
    found = turns(np.array(how.rates), losses, window)
    if found is None:
        notes.append(f"{NO_TURN} (depth {family.first.depth})")
        return None
    statement = statements.limit(widths, found, predicted, GROWTH * family.first.depth, predicted)
    rows.append(_row(statement, Column("online_boundary", (), None), family.point, "limit", "limit"))
    return Online.of(family.first.depth + 1, found, statement)


def _losses(reader: _Reader, how: Recipe) -> tuple[tuple[Course, ...], Floats, Floats]:
    """Medians of the loss by step; of each width and learning rate the median of the last loss over the first, and
    the share of networks that diverged."""
    family = reader.family
    shape = (len(family.settings), len(how.rates))
    final, diverged = np.full(shape, np.nan), np.full(shape, np.nan)
    if not reader.has("loss"):
        return (), final, diverged
    courses = []
    for k, rate in enumerate(how.rates):
        mean, error = [], []
        for place, setting in enumerate(family.settings):
            loss = reader.of("loss", setting, k)
            gone = ~np.isfinite(loss[:, -1])
            diverged[place, k] = gone.mean()
            ratio = np.where(gone, np.inf, loss[:, -1] / loss[:, 0])
            final[place, k] = float(np.median(ratio))
            with np.errstate(invalid="ignore"):
                mean.append(np.median(np.where(np.isfinite(loss), loss, np.inf), axis=0))
            error.append(np.zeros(loss.shape[1]))
        courses.append(
            Course("loss", np.arange(how.steps + 1.0), np.array(mean), np.array(error), rate if shape[1] > 1 else None)
        )
    return tuple(courses), final, diverged
