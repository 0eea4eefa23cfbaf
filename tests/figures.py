"""What is wrong with a figure: empty axes, legends that say nothing or twice the same, texts over each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.container import ErrorbarContainer

ROOM = 1.0  # pixels by which two texts may touch


def faults(figure: Any) -> list[str]:
    """Sentences, one for each fault; none if the figure is good."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found: list[str] = []
    for number, axis in enumerate(figure.axes):
        if hasattr(axis, "_colorbar") or not axis.get_visible():
            continue
        found += [f"axis {number}: {fault}" for fault in _axis_faults(axis)]
    for legend in [*figure.legends, *(axis.get_legend() for axis in figure.axes if axis.get_legend())]:
        found += _legend_faults(figure, legend)
    return found + _text_faults(figure, canvas.get_renderer())


def _axis_faults(axis: Any) -> list[str]:
    if not any(_points(artist) for artist in _drawn(axis)):
        return ["nothing is drawn"]
    found = []
    for side, (low, high) in (("x", axis.get_xlim()), ("y", axis.get_ylim())):
        if not abs(high - low) > 1e-9 * max(abs(low), abs(high)):
            found.append(f"the {side} axis goes from {low} to {high}")
    if not axis.get_xlabel() and not axis.get_ylabel() and not axis.get_title(loc="left") and not _twin(axis):
        found.append("no label")
    looks: dict[Any, str] = {}
    for container in (c for c in axis.containers if isinstance(c, ErrorbarContainer)):
        line, label = container.lines[0], container.get_label() or "_none"  # None before matplotlib 3.10
        look = line.get_color(), line.get_marker(), line.get_markerfacecolor()
        if not label.startswith("_") and looks.setdefault(look, label) != label:
            found.append(f"{label} looks like {looks[look]}")
    return found


def _twin(axis: Any) -> bool:
    return any(
        other is not axis and other.get_position().bounds == axis.get_position().bounds for other in axis.figure.axes
    )


def _drawn(axis: Any) -> list[Any]:
    """Artists that show data (lines across an axis, bands and texts do not)."""
    data = axis.transData
    lines = [line for line in axis.get_lines() if all(line.get_transform().contains_branch_seperately(data))]
    return [*lines, *axis.collections, *(patch for patch in axis.patches if type(patch).__name__ == "StepPatch")]


def _points(artist: Any) -> int:
    """How many finite points an artist has."""
    if isinstance(artist, Collection):
        array = artist.get_array()
        if array is not None:
            return int(np.isfinite(np.ma.filled(np.ma.asarray(array, float), np.nan)).sum())
        return sum(int(np.isfinite(path.vertices).all(axis=1).sum()) for path in artist.get_paths())
    if hasattr(artist, "get_data") and type(artist).__name__ == "StepPatch":
        values = np.asarray(artist.get_data().values, float)
        return int((np.isfinite(values) & (values != 0)).sum())
    return int(np.isfinite(np.asarray(artist.get_xydata(), float)).all(axis=1).sum())


def _legend_faults(figure: Any, legend: Any) -> list[str]:
    labels = [text.get_text() for text in legend.get_texts()]
    found = [f"the legend says {label!r} twice" for label in dict.fromkeys(labels) if labels.count(label) > 1]
    for label in dict.fromkeys(labels):
        artists = [
            artist
            for axis in figure.axes
            for handle, name in zip(*axis.get_legend_handles_labels(), strict=True)
            if name == label
            for artist in (handle.lines[:1] if isinstance(handle, ErrorbarContainer) else [handle])
        ]
        if not any(_points(artist) for artist in artists):
            found.append(f"the legend names {label!r}, which is not drawn")
    return found


def _text_faults(figure: Any, renderer: Any) -> list[str]:
    """Tick labels, titles, axis labels and legends that touch each other or leave the figure."""
    boxes: list[tuple[str, Any]] = []
    for axis in figure.axes:
        texts = [*axis.get_xticklabels(), *axis.get_yticklabels(), *axis.get_xticklabels(minor=True)]
        texts += [*axis.get_yticklabels(minor=True), axis.xaxis.label, axis.yaxis.label, axis._left_title, axis.title]
        inside = _within(axis)
        boxes += [
            (text.get_text(), text.get_window_extent(renderer))
            for text in texts
            if text.get_visible() and text.get_text() and inside(text)
        ]
    for legend in figure.legends:
        boxes.append(("the legend", legend.get_window_extent(renderer)))
    width, height = figure.bbox.width, figure.bbox.height
    found = [
        f"{text!r} leaves the figure"
        for text, box in boxes
        if box.x0 < -ROOM or box.y0 < -ROOM or box.x1 > width + ROOM or box.y1 > height + ROOM
    ]
    for (a, one), (b, other) in combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        along = min(one.y1, other.y1) - max(one.y0, other.y0)
        if across > ROOM and along > ROOM and one.bounds != other.bounds:
            found.append(f"{a!r} and {b!r} overlap")
    return found


def _within(axis: Any) -> Any:
    """Whether a tick label belongs to a tick that is seen."""
    ticks = {
        id(label): side.get_view_interval()
        for side in (axis.xaxis, axis.yaxis)
        for label in [*side.get_ticklabels(), *side.get_ticklabels(minor=True)]
    }
    place = {
        id(label): tick.get_loc()
        for side in (axis.xaxis, axis.yaxis)
        for tick in [*side.get_major_ticks(), *side.get_minor_ticks()]
        for label in (tick.label1, tick.label2)
    }

    def inside(text: Any) -> bool:
        if id(text) not in ticks or id(text) not in place:
            return True
        low, high = sorted(ticks[id(text)])
        return bool(low - 1e-9 * abs(low) <= place[id(text)] <= high + 1e-9 * abs(high))

    return inside
