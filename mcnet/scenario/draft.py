"""What the keys of a scenario must be together: checked on the file alone, before any point is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mcnet.architectures import Architecture
from mcnet.architectures.keys import EPSILON
from mcnet.coordinates import COORDINATES, DOUBLE_CRITICAL, INSIDE, REQUIRED, Coordinate
from mcnet.scenario import tables
from mcnet.scenario.faults import Faults
from mcnet.scenario.schema import Analyze, Sampling, Train
from mcnet.scenario.sweep import MAX_POINTS, grid

_RANDOM_KINDS = ("single", "pair", "gaussian")
_PREPARED = {"count", "classes", "centering", "scaling"}
_ALLOWED = {
    "single": {"q0", "count", "dimension", "fresh"},
    "pair": {"q0", "c0", "count", "dimension", "fresh"},
    "gaussian": {"q0", "c0", "count", "dimension", "fresh"},
    "values": {"values", "count", "dimension", "fresh"},
    "file": {"path", "array", "labels", "dimension", "fresh", *_PREPARED},
    "digits": {"dimension", "fresh", *_PREPARED},
}
_NEEDED = {
    "single": ("q0",),
    "pair": ("q0", "c0"),
    "gaussian": ("count",),
    "values": ("values",),
    "file": ("path",),
    "digits": (),
}
_EXPLAINED = {
    "q0": '|x|^2 / dimension, or "fixed-point"',
    "c0": "the correlation of the two inputs",
    "count": "how many inputs",
    "values": "the list of vectors",
    "path": f"a {tables.KINDS} with one input in each row",
}


@dataclass(frozen=True)
class Draft:
    """A scenario read section by section; a key with a mistake is None, and ``given`` says which keys were there.

    ``trains``: whether there is a section ``[train]``; ``listed_rates``: whether its learning rates are a list.
    """

    title: str
    architecture: Architecture
    network: Mapping[str, Any]
    inputs: Mapping[str, Any]
    sweep: Mapping[str, Any]
    sampling: Sampling
    train: Train
    analyze: Analyze
    measures: Mapping[str, Mapping[str, Any]]
    given: Mapping[str, tuple[str, ...]] = field(repr=False)
    trains: bool = False
    listed_rates: bool = False

    @property
    def sweepable(self) -> dict[str, Coordinate]:
        """What a sweep may run over."""
        return {each.name: each for each in (*COORDINATES, *self.architecture.coordinates) if each.swept}

    def axes(self) -> dict[str, tuple[Any, ...]]:
        """Values of every quantity that may be swept, in the order of the sweep; those with mistakes left out."""
        sweepable = self.sweepable
        names = [name for name in self.given["sweep"] if name in sweepable]
        names += [name for name in sweepable if name not in names]
        axes: dict[str, tuple[Any, ...]] = {}
        for name in names:
            swept, fixed, default = self.sweep[name], self.network[name], sweepable[name].default
            together = tuple(dict.fromkeys(joint[name] for joint in self.joint() if name in joint))
            if together:
                axes[name] = together
            elif swept is not None:
                axes[name] = swept
            elif fixed is not None:
                axes[name] = (fixed,)
            elif default not in (REQUIRED, None) and name not in (*self.given["network"], *self.given["sweep"]):
                axes[name] = (default,)
        return axes

    def place(self, name: str) -> tuple[str, str]:
        """Where a quantity that may be swept is written."""
        if any(name in joint for joint in self.joint()):
            return ("sweep", "points")
        return ("sweep" if name in self.given["sweep"] else "network", name)

    def joint(self) -> tuple[dict[str, Any], ...]:
        """The entries of ``[[sweep.points]]``: values by quantity."""
        entries = self.sweep["points"] or ()
        return tuple({name: value for name, value in entry if value is not None} for entry in entries)

    def grid(self) -> list[dict[str, Any]]:
        """The values of every point: the product of the axes, those of ``[[sweep.points]]`` moving together."""
        together = self.joint()
        if not together:
            return grid(self.axes())
        alone = {name: values for name, values in self.axes().items() if name not in together[0]}
        order = self.given["sweep"]
        before = order[: order.index("points")]
        first = {name: values for name, values in alone.items() if name in before}
        rest = {name: values for name, values in alone.items() if name not in before}
        return [{**a, **b, **c} for a in grid(first) for b in together for c in grid(rest)]

    def count(self) -> int | None:
        """T, the number of inputs, where the file alone says so."""
        fixed = {"single": 1, "pair": 2, "gaussian": self.inputs["count"]}
        if self.inputs["kind"] == "values" and self.inputs["values"] is not None:
            return len(self.inputs["values"])
        return fixed.get(self.inputs["kind"])


def check(draft: Draft, faults: Faults) -> None:
    """Note every combination of keys that cannot be run."""
    _grid(draft, faults)
    _inputs(draft, faults)
    _sampling(draft, faults)
    _last_layer(draft, faults)
    _epsilon(draft, faults)
    _sampler(draft, faults)
    _theory(draft, faults)


def _grid(draft: Draft, faults: Faults) -> None:
    for name, coordinate in draft.sweepable.items():
        fixed, swept = (name in draft.given[section] for section in ("network", "sweep"))
        if fixed and swept:
            faults.add(("sweep", name), "is fixed in [network] and swept here. Remove one of the two.", at_key=True)
        elif name == "sigma_b2" and DOUBLE_CRITICAL in draft.axes().get("sigma_w2", ()):
            _double_critical(draft, faults)
        elif coordinate.default is REQUIRED and not (fixed or swept or any(name in joint for joint in draft.joint())):
            if ("sweep", name) in faults.meant or faults.has("sweep", "points"):
                continue
            faults.missing(("network", name), f"Write {name} = ... in [network], or sweep it in [sweep].")
    together = draft.joint()
    names = tuple(together[0]) if together else ()
    for place, joint in enumerate(together):
        if set(joint) != set(names) and not faults.has("sweep", "points"):
            faults.add(
                ("sweep", "points", place), f"gives {_listed(joint)}, the first gives {_listed(names)}. Give the same."
            )
    for name in names:
        if name in draft.given["network"] or name in draft.given["sweep"]:
            other = "network" if name in draft.given["network"] else "sweep"
            faults.add((other, name), "stands in [[sweep.points]] too. Remove one of the two.", at_key=True)
    size = len(together) or 1
    for name, values in draft.axes().items():
        size *= 1 if name in names else len(values)
    if size > MAX_POINTS:
        faults.add(("sweep",), f"makes {size} points; at most {MAX_POINTS} are allowed. Split the study.", at_key=True)


def _double_critical(draft: Draft, faults: Faults) -> None:
    """One value sets both variances, so neither has others."""
    if set(draft.axes()["sigma_w2"]) != {DOUBLE_CRITICAL}:
        faults.add(
            draft.place("sigma_w2"),
            f'"{DOUBLE_CRITICAL}" sets sigma_b2 too and stands beside other values. Give it alone.',
        )
    elif "sigma_b2" in draft.axes():
        faults.add(
            draft.place("sigma_b2"), f'is set by sigma_w2 = "{DOUBLE_CRITICAL}". Remove it, or give a number there.'
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _inputs(draft: Draft, faults: Faults) -> None:
    inputs, given = draft.inputs, draft.given["inputs"]
    kind, count, c0 = inputs["kind"], inputs["count"], inputs["c0"]
    if "kind" not in given:
        faults.missing(
            ("inputs", "kind"), 'Write kind = "single", "pair", "gaussian", "values", "file" or "digits" in [inputs].'
        )
    if kind is None:
        return
    joint_count = any("count" in joint for joint in draft.joint())
    if joint_count and kind != "gaussian":
        faults.add(("sweep", "points"), "only gaussian inputs can have their count here. Remove count.", at_key=True)
    if joint_count and "count" in given:
        faults.add(("inputs", "count"), "stands in [[sweep.points]] too. Remove one of the two.", at_key=True)
    for name in _NEEDED[kind]:
        if name not in given and not (name == "count" and joint_count):
            faults.missing(("inputs", name), f'kind = "{kind}" needs {name}: {_EXPLAINED[name]}.')
    for name in given:
        if name in inputs and name not in {"kind", *_ALLOWED[kind]}:
            faults.add(("inputs", name), f'has no meaning for kind = "{kind}". Remove it.', at_key=True)
    expected = draft.count()
    if kind != "gaussian" and count is not None and expected is not None and count != expected:
        faults.add(
            ("inputs", "count"),
            f'kind = "{kind}" has {expected} here, got {count}. Write {expected} or remove it.',
        )
    if inputs["fresh"] and kind not in _RANDOM_KINDS:
        faults.add(("inputs", "fresh"), f'kind = "{kind}" gives the inputs themselves. Remove fresh.')
    vectors, dimension = inputs["values"], inputs["dimension"]
    if kind == "values" and vectors is not None and dimension not in (None, len(vectors[0])):
        faults.add(
            ("inputs", "dimension"), f"the vectors have {len(vectors[0])} components, got {dimension}. Remove it."
        )
    if kind == "gaussian" and c0 is not None and count is not None and c0 * (count - 1) < -1:
        least = f"{-1 / (count - 1):.6g}"
        faults.add(("inputs", "c0"), f"{count} inputs cannot all be so anticorrelated. Give c0 from {least} to 1.")
    if kind == "pair":
        widths = draft.axes().get("width")
        smallest = dimension if "dimension" in given else min(widths) if widths else None
        if smallest == 1:
            where = ("inputs", "dimension") if "dimension" in given else ("inputs", "kind")
            faults.add(where, "two directions need two dimensions. Give a dimension of at least 2.")


def _epsilon(draft: Draft, faults: Faults) -> None:
    values = draft.axes().get("normalization", ())
    if EPSILON in draft.axes() and not any(value in INSIDE for value in values):
        listed = ", ".join(f'"{name}"' for name in INSIDE)
        faults.add(
            draft.place(EPSILON), f"belongs to a normalization inside the network ({listed}). Remove it.", at_key=True
        )


def _sampling(draft: Draft, faults: Faults) -> None:
    given = draft.given["sampling"]
    if "networks" in given and "target" in given:
        faults.add(("sampling", "target"), "stands beside networks. Keep one of the two.", at_key=True)
    elif "networks" not in given and "target" not in given:
        faults.missing(("sampling", "networks"), "Write networks = ..., how many at each point, in [sampling].")


def _last_layer(draft: Draft, faults: Faults) -> None:
    outputs, readout = draft.network["outputs"], draft.network["readout"]
    if "outputs" not in draft.given["network"]:
        if readout is not None:
            faults.add(("network", "readout"), "there is no readout without outputs. Add outputs = ..., or remove it.")
        if any(name.startswith("last-") for name in draft.axes().get("normalization", ())):
            faults.add(draft.place("normalization"), "normalises a readout. Add outputs = ... to [network].")
    count, widths = draft.count(), draft.axes().get("width")
    for name, leaves in (("last-mean", "one number of each output"), ("last-batch", "no gradient")):
        if name in draft.axes().get("normalization", ()) and count is not None and count < 3:
            faults.add(
                draft.place("normalization"),
                f'"{name}" needs at least 3 inputs, there are {count}: it leaves {leaves} of two. Add inputs.',
            )
    if "last-layer" in draft.axes().get("normalization", ()) and outputs is not None and outputs < 3:
        faults.add(
            draft.place("normalization"),
            f'"last-layer" needs at least 3 outputs, there are {outputs}: it leaves no gradient of two. Add outputs.',
        )
    if readout == "orthogonal" and outputs is not None and widths and outputs > min(widths):
        faults.add(
            ("network", "readout"),
            f"{outputs} outputs cannot be orthogonal at width {min(widths)}. "
            f'Write readout = "gaussian", or at most {min(widths)} outputs.',
        )


def _theory(draft: Draft, faults: Faults) -> None:
    if "free-probability" in draft.analyze.theory and "uniform" in draft.axes().get("weights", ()):
        faults.add(
            ("analyze", "theory"),
            '"free-probability" has laws for gaussian and orthogonal weights; uniform ones are expected to share the '
            'limit of gaussian ones, not their corrections at finite width. Write weights = "gaussian", or remove it.',
        )


def _sampler(draft: Draft, faults: Faults) -> None:
    if draft.sampling.sampler != "conditioned":
        return
    axes, count = draft.axes(), draft.count()
    if "uniform" in axes.get("weights", ()):
        faults.add(
            ("sampling", "sampler"),
            '"conditioned" is exact for gaussian and orthogonal weights only, not for uniform ones. '
            'Write sampler = "explicit".',
        )
    widths = axes.get("width")
    if widths and count is not None and count >= min(widths):
        faults.add(
            ("sampling", "sampler"),
            f'"conditioned" gains nothing with T = {count} at width {min(widths)}. '
            'Write sampler = "auto" or "explicit".',
        )
