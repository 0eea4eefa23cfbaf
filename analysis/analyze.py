"""Analyse a run: every family of widths judged, the fits that the scenario asks for, one global verdict."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mcnet_analysis import kept, study
from mcnet_analysis.judge.family import Judged, judge_family
from mcnet_analysis.judge.power import added, power_table, untested, weakness
from mcnet_analysis.judge.power import judged as weighed
from mcnet_analysis.judge.spectra import FamilySpectra, judge_spectra, with_spectra
from mcnet_analysis.judge.table import Row, count, expected_scales
from mcnet_analysis.judge.training import Trained, judge_training
from mcnet_analysis.predict.prediction import Theory
from mcnet_analysis.predict.spectra import Laws
from mcnet_analysis.sampling import Sampling, sampling
from mcnet_analysis.statistics import scaling
from mcnet_analysis.statistics.verdict import Verdict, combine

from mcnet import files, plugins
from mcnet.dataset import attributes as dataset_attributes
from mcnet.dataset import plan
from mcnet.errors import DataError, DiskError, UsageError
from mcnet.progress import counted
from mcnet.storage.members import are_in

if TYPE_CHECKING:
    import xarray

FORMAT = "mcnet-analysis-1"
OUTLIER = 5.0  # no comparison, in the verdict or not, lies this many standard errors off by chance


@dataclass(frozen=True)
class Analysis:
    """A judged dataset.

    Attributes
    ----------
    families : tuple of Judged
    asked_fits : tuple of dict
        The fits of ``[analyze] fit``.
    verdict : Verdict
        Sum over the families, which are independent.
    attributes : dict
        Those of the dataset.
    spectra : tuple of FamilySpectra
    sampling : Sampling or None
        The target of the run, where its networks were chosen by one.
    trained : tuple of Trained
        The families as they were seen in training.
    members : tuple of (str, Analysis)
        Of a scenario with members each with its name; all else is then that of all of them together.
    """

    families: tuple[Judged, ...]
    asked_fits: tuple[Row, ...]
    verdict: Verdict
    attributes: dict[str, Any]
    spectra: tuple[FamilySpectra, ...] = ()
    sampling: Sampling | None = None
    trained: tuple[Trained, ...] = ()
    members: tuple[tuple[str, Analysis], ...] = ()

    @property
    def summary(self) -> Row:
        """The verdict in numbers, and what it leaves out."""
        z = np.array([row["z"] for judged in self.families for row in judged.comparisons], dtype=np.float64)
        z = z[np.isfinite(z)]
        left_out: dict[str, int] = {}
        for judged in self.families:
            for what, number in judged.left_out.items():
                count(left_out, what, number)
        power = power_table(added(judged.information for judged in self.families), self.verdict.dof)
        return {
            "comparisons": int(z.size),
            "rms_z": float(np.sqrt(np.mean(z**2))) if z.size else None,
            "max_abs_z": float(np.abs(z).max()) if z.size else None,
            "chi2": self.verdict.chi2,
            "dof": self.verdict.dof,
            "p_value": self.verdict.p_value,
            "groups": sum(judged.verdict.dof > 0 for judged in self.families),
            "networks": sum(setting.networks for judged in self.families for setting in judged.family.settings),
            "judged": weighed(row for judged in self.families for row in judged.comparisons),
            "power": power,
            "weak_test": weakness(power, self.verdict.dof),
            "untested": untested(power),
            "left_out": left_out,
            "poor_fits": self._poor_fits(),
            "outliers": int((np.abs(z) > OUTLIER).sum()),
        }

    @property
    def _target(self) -> Row:
        """What was asked for by the target, where the networks went and what they came to."""
        assert self.sampling is not None, "asked for where there is one"
        goals = [
            {
                **{name: value for name, value in goal.result.items() if name != "points"},
                "relative_error": goal.relative_errors[-1],
                "points": list(goal.indices),
                "networks": goal.drawn[-1].tolist() if len(goal.drawn) else [0] * len(goal.indices),
            }
            for goal in self.sampling.goals
        ]
        return {
            "asked": dict(self.sampling.target),
            "pilot": self.sampling.pilot,
            "results": goals,
            "outcome": self.sampling.outcome,
        }

    def _poor_fits(self) -> int:
        """Fits whose goodness would be too small by chance in this many (1 % for all together)."""
        p_values = np.array([row["p_value"] for judged in self.families for row in judged.fits], dtype=np.float64)
        p_values = p_values[np.isfinite(p_values)]
        return int((p_values < 0.01 / max(p_values.size, 1)).sum())

    @property
    def document(self) -> Row:
        """The content of analysis.json."""
        return {
            "format": FORMAT,
            "summary": self.summary,
            "comparisons": [row for judged in self.families for row in judged.comparisons],
            "fits": [*self.asked_fits, *(row for judged in self.families for row in judged.fits)],
            "spectra": [entry for each in self.spectra for entry in each.entries],
            "families": [
                {
                    "point": judged.family.point,
                    "chi2": judged.verdict.chi2,
                    "dof": judged.verdict.dof,
                    "p_value": judged.verdict.p_value,
                    "notes": judged.notes,
                }
                for judged in self.families
            ],
            **({} if self.sampling is None else {"target": self._target}),
            "dataset": {
                name: self.attributes[name]
                for name in ("title", "mcnet_version", "git_commit", "plan_digest", "content_digest", "seed")
                if name in self.attributes
            },
        }


def analyze(
    directory: str | os.PathLike[str] | xarray.DataTree,
    quiet: bool = True,
    out: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Fit and compare with theory; of a run also write ``analysis.json`` into its directory.

    Parameters
    ----------
    directory : path or DataTree
        Directory of a run, a dataset file, or networks in memory as :func:`mcnet.sample` gives them (nothing is
        written then).
    quiet : bool
        False: tell on stderr how far it is, where it takes long.
    out : path, optional
        Where to write instead: a file, or a folder for it.

    Returns
    -------
    dict
        The content of analysis.json (numbers that do not exist are None): comparisons, fits, summary; see
        docs/analysis.md.

    Raises
    ------
    DataError
        If there is no dataset that can be read, or what it says does not fit together.
    DiskError
        If the result cannot be written.
    """
    if isinstance(directory, str | os.PathLike) and are_in(Path(directory)):
        from mcnet_analysis import members

        return members.analyze(Path(directory), quiet, out)
    keep = isinstance(directory, str | os.PathLike) and out is None
    analysis = judge_directory(directory, quiet, keep=True) if keep else judged(directory, quiet)
    document = plain(analysis.document)
    if isinstance(directory, str | os.PathLike):
        publish(place_of(directory, "analysis.json", out), written(document))
    return dict(document)


def judged(source: str | os.PathLike[str] | xarray.DataTree | Analysis, quiet: bool = True) -> Analysis:
    """What figures and tables are made of: the analysis of a run directory, a dataset file or a tree.

    An :class:`Analysis` is given back as it is, so that several figures of one tree need one analysis.

    Raises
    ------
    UsageError
        If it is none of these.
    """
    import xarray

    if isinstance(source, Analysis):
        return source
    if isinstance(source, xarray.DataTree):
        return judge(source, quiet)
    if isinstance(source, str | os.PathLike):
        return judge_directory(source, quiet)
    raise UsageError(f"{type(source).__name__}: give a run directory, a dataset file, a tree or an analysis of one.")


def beside(path: str | os.PathLike[str], name: str) -> Path:
    """Where results go: into the directory of a run, beside a dataset file (with its name, if it is not dataset.h5)."""
    place = Path(path)
    if not place.is_file():
        return place / name
    return place.with_name(name if place.name == "dataset.h5" else f"{place.stem}.{name}")


def place_of(path: str | os.PathLike[str], name: str, out: str | os.PathLike[str] | None) -> Path:
    """Where a result goes: where the user says, or :func:`beside` what it is of."""
    if out is None:
        return beside(path, name)
    chosen = Path(out)
    if chosen.suffix == Path(name).suffix and not chosen.is_dir():
        return chosen
    files.make_folder(chosen, may_be_link=True)
    return chosen / beside(path, name).name


def publish(place: Path, text: str) -> None:
    """Write a result.

    Raises
    ------
    DiskError
        If it cannot be written there.
    """
    try:
        files.write(place, text)
    except DiskError as error:
        raise DiskError(f"{error} For another place: --out PATH.") from error


def judge_directory(directory: str | os.PathLike[str], quiet: bool = True, keep: bool = False) -> Analysis:
    """Open the dataset of a run directory and judge it, or take the judgement that was kept of it.

    Parameters
    ----------
    directory : path
        Or a dataset file.
    quiet : bool
        False: tell on stderr how far it is, where it takes long.
    keep : bool
        Keep the result beside the dataset, for the next one who asks.

    Raises
    ------
    DataError
        If there is no dataset that can be read, or what it says does not fit together.
    UsageError
        If it was made with a plug-in that is missing, or that the user never named.
    """
    from mcnet.dataset.open import open_dataset

    if are_in(Path(directory)):
        from mcnet_analysis import members

        return members.judge(Path(directory), quiet, keep)
    with open_dataset(Path(directory)) as tree:
        plugins.load_named(plan.plugin_names(tree, Path(directory)), str(directory))
        try:
            place = beside(directory, kept.NAME)
            analysis = kept.read(place, tree)
            if analysis is not None:
                return kept.with_values(analysis, tree)  # type: ignore[no-any-return]
            analysis = judge(tree, quiet)
            if keep:
                kept.write(place, analysis, tree)
            return analysis
        except OSError as error:
            raise DataError(f"{directory}: its dataset is damaged: HDF5 cannot read its numbers.") from error
        except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
            told = "".join(c if c.isprintable() else " " for c in str(error))[:300]
            raise DataError(f"{directory}: its dataset cannot be analysed: {told or type(error).__name__}.") from error


def judge(tree: xarray.DataTree, quiet: bool = True, *, predictions: tuple[Theory, Laws] | None = None) -> Analysis:
    """Judge a dataset that is open (or made in memory); unless ``quiet`` it is told how far it is.

    ``predictions`` are used instead of new ones: many datasets of the same laws need them once.
    """
    attributes = {str(name): value for name, value in tree.attrs.items()}
    asked = dataset_attributes.asked(attributes)
    orders = (asked.theory,) if asked.theory else ()
    theory, laws = predictions or (Theory(*orders), Laws(asked.theory))
    done: list[Judged] = []
    trained: list[Trained] = []
    spectra: list[list[FamilySpectra]] = []
    for family in counted(study.families(study.settings(tree)), "families of widths", quiet):
        spectra.append(judge_spectra(tree, family, laws))
        judged, course = judge_training(tree, family, with_spectra(judge_family(tree, family, theory), spectra[-1]))
        done.append(judged)
        trained += [] if course is None else [course]
    families = tuple(done)
    rows = [row for fit in asked.fit for row in _asked_fit(fit, families)]
    verdict = combine(judged.verdict for judged in families)
    judged_spectra = tuple(each for found in spectra for each in found)
    return Analysis(families, tuple(rows), verdict, attributes, judged_spectra, sampling(tree), tuple(trained))


def _asked_fit(asked: dataset_attributes.Fit, families: tuple[Judged, ...]) -> list[Row]:
    """Fit the mean of one observable by the model of the scenario, in every family with enough widths."""
    model = asked.model
    order = model.count("a")  # a0, a1/M, ... without gaps
    rows = []
    for judged in families:
        widths = judged.family.widths
        if order > widths.size:
            judged.notes.append(f'the fit "{model}" needs {order} widths, there are {widths.size}')
            continue
        limits = np.array([predicted.limit for predicted in judged.predictions])
        scales = expected_scales(judged.family, judged.columns, judged.moments, judged.predictions)
        for j, column in enumerate(judged.columns):
            layer = judged.family.first.depth if asked.layer is None else asked.layer
            if column.observable != asked.observable or column.layer not in (None, layer):
                continue
            if not scales.varying[j]:
                continue
            y = np.array([[m.mean[j]] for m in judged.moments])
            error = np.array([[m.mean_error[j]] for m in judged.moments])
            if not (np.isfinite(y).all() and np.isfinite(error).all()):
                continue
            fitted = scaling.fit(
                widths,
                y,
                error,
                scale=scales.mean[j],
                growth=scales.mean_growth[j],
                first=0,
                order=order,
            )
            names = [f"a{power}" for power in range(order)]
            rows.append(
                {
                    "observable": column.observable,
                    "point": judged.family.point,
                    **column.place,
                    "statistic": "mean",
                    "limit": "free",
                    "model": model,
                    "coefficients": dict(zip(names, fitted.coefficient[0].tolist(), strict=True)),
                    "errors": dict(zip(names, fitted.error[0].tolist(), strict=True)),
                    "predicted": float(limits[-1, j]) if np.ptp(limits[:, j]) == 0.0 else math.nan,
                    "chi2": float(fitted.chi2[0]),
                    "dof": int(fitted.dof[0]),
                    "p_value": float(fitted.p_value[0]),
                }
            )
    return rows


def plain(value: Any) -> Any:
    """JSON has no NaN: a number that does not exist is null. Ten digits are more than any error bar needs."""
    return _plain(value, {})


def _plain(value: Any, known: dict[int, Any]) -> Any:
    """The same; ``known``: what has been made of dictionaries, of which rows of one point share one."""
    if isinstance(value, str):
        return value
    if isinstance(value, float | np.floating):
        number = float(value)
        return float(f"{number:.10g}") if math.isfinite(number) else None
    if isinstance(value, dict):
        if id(value) not in known:
            known[id(value)] = {key: _plain(item, known) for key, item in value.items()}
        return known[id(value)]
    if isinstance(value, list | tuple):
        return [_plain(item, known) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def written(document: dict[str, Any]) -> str:
    """A document as JSON with a line for every entry of its lists and dictionaries: fast, and read by people too."""
    parts = []
    for name, value in document.items():
        if isinstance(value, dict) and value:
            text = _lines("{", [f"{json.dumps(key)}: {_dumped(item)}" for key, item in value.items()], "}")
        elif isinstance(value, list) and value:
            text = _lines("[", [_dumped(item) for item in value], "]")
        else:
            text = _dumped(value)
        parts.append(f" {json.dumps(name)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _dumped(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _lines(begin: str, entries: list[str], end: str) -> str:
    return f"{begin}\n  " + ",\n  ".join(entries) + f"\n {end}"
