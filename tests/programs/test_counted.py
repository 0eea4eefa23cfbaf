"""Programs on shapes: what matrices are asked, memory, and whether asking pays, against networks that are sampled."""

from __future__ import annotations

import tracemalloc
from typing import Any

import program_zoo as zoo
import pytest

from mcnet.programs import counted, sampled
from mcnet.programs.counted import Count
from mcnet.programs.names import ProgramError
from mcnet.programs.questions import Parameterization
from mcnet.weights.asked import asked_matrix
from mcnet.weights.laws import Ensemble, Layer

NTK = Parameterization("ntk", True)


def count_of(case: zoo.Case, width: int = zoo.WIDTH, **changes: Any) -> Count:
    p = zoo.parameters(case, width=width, **changes)
    return counted.count(case.network, p, zoo.laws(p), {"input": case.inputs, **case.axes}, width)


class Noted:
    """A matrix that counts its questions."""

    def __init__(self, layer: Layer, ensemble: Ensemble, forward: int, backward: int) -> None:
        self.expected, self.asked, self.asks = (forward, backward), [0, 0], 0
        self._matrix = asked_matrix(layer, ensemble, forward, backward)

    def apply(self, x: Any, constants: Any) -> Any:
        self.asked[0] += x.shape[1]
        self.asks += 1
        return self._matrix.apply(x, constants)

    def apply_transpose(self, d: Any) -> Any:
        self.asked[1] += d.shape[1]
        return self._matrix.apply_transpose(d)


@pytest.mark.parametrize("case", zoo.CASES, ids=lambda case: case.name)
def test_questions_are_foreseen(case: zoo.Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Number for number, from either side of each matrix; and the shapes of outputs and seen vectors."""
    monkeypatch.setattr(sampled, "asked_matrix", Noted)
    trace = zoo.run(case, "conditioned")
    trace.backward(NTK)
    count = count_of(case)
    assert list(count.matrices) == list(trace.matrices)
    for key, matrix in trace.matrices.items():
        assert isinstance(matrix, Noted)
        foreseen = count.matrices[key]
        assert tuple(matrix.asked) == (foreseen.forward, foreseen.backward) == matrix.expected, key
        assert matrix.asks == foreseen.asks
    for key, shape in count.seen.items():
        assert trace.vector(key).axes == shape.axes
        assert trace.vector(key).units == shape.units
    assert count.mixes_inputs == (case.name == "batch_norm")


@pytest.mark.parametrize("case", zoo.CASES, ids=lambda case: case.name)
def test_memory_is_foreseen(case: zoo.Case) -> None:
    """Within a factor of 2 and a half of what is allocated at the height."""
    networks, width = 20, 150
    count = count_of(case, width)
    for sampler in ("conditioned", "explicit"):
        for backward in (False, True):

            def run(sampler: str = sampler, backward: bool = backward) -> None:
                trace = zoo.run(case, sampler, networks, precision="mixed", width=width, backward=backward)
                if backward:
                    trace.backward(NTK)

            run()
            tracemalloc.start()
            run()
            height = tracemalloc.get_traced_memory()[1] / networks
            tracemalloc.stop()
            ratio = count.bytes_per_network(sampler, 4, backward) / height
            assert 0.4 < ratio < 2.5, f"{sampler}, {backward}: {ratio:.2f}"


def test_where_asking_pays() -> None:
    """Wide and few inputs; not narrow with many, nor a narrow recurrent network of many steps."""
    dense, convolution = zoo.BY_NAME["dense"], zoo.BY_NAME["convolution"]
    for backward in (False, True):
        assert count_of(dense, 1000).asking_pays(backward)
        assert not count_of(dense._replace(inputs=100), 30).asking_pays(backward)
        assert not count_of(convolution._replace(axes={"position": 64}, inputs=8), 50).asking_pays(backward)
    wide = count_of(dense, 2000)
    assert wide.seconds_per_network("conditioned", True) < 0.1 * wide.seconds_per_network("explicit", True)


def test_what_is_wrong_is_told_before_anything_is_sampled() -> None:
    def short(w: Any, x: Any, p: Any) -> Any:
        return w.ask("readout", x + w.ask("W", x))

    p = zoo.parameters(zoo.BY_NAME["dense"])
    with pytest.raises(ProgramError, match="a sum: vectors of 4 and of 6 units"):
        counted.count(short, p, zoo.laws(p), {"input": 2}, 4)
    assert counted.count(short, p, zoo.laws(p), {"input": 2}, 6).matrices["W",].asked.columns == 6
