"""Solutions on the axis from those of neighbours: they are the ones that are followed from the negative axis."""

import numpy as np
import pytest

from mcnet import activations
from mcnet.theory import mean_field
from mcnet.theory.free import continuation
from mcnet.theory.free.fisher_chain import FisherChain
from mcnet.theory.free.product import Layers, ProductSystem, law_of, negative_axis, top
from mcnet.theory.free.slope_law import slope_law


def product(activation, haar, depth, sigma_w2, q=None):
    phi = activations.get(activation)
    lengths = mean_field.lengths(phi, sigma_w2, 0.1, 1.0, depth) if q is None else [q]
    groups = tuple(Layers(slope_law(phi, float(length)), 1 if q is None else depth) for length in lengths)
    system = ProductSystem(groups, depth * np.log(sigma_w2), haar)
    s, states, _ = negative_axis(system, -690.0, 1e-9)
    return system, (s, states), top(system)


def chain(activation, haar, depth, sigma_w2):
    phi = activations.get(activation)
    lengths = mean_field.lengths(phi, sigma_w2, 0.1, 1.0, depth)
    laws = tuple(slope_law(phi, float(length)) for length in lengths[:-1])
    system = FisherChain(laws, tuple(float((q - 0.1) / sigma_w2) for q in lengths), np.log(sigma_w2), haar)
    log_top = system.top()
    s, states, _ = system.negative_axis(log_top, -690.0, 1e-9)
    return system, (s, states), log_top


def check(system, axis, log_top):
    """The two agree at every point: inside the bands, in gaps, and next to the edges."""
    low = max(axis[0][-1], log_top - 60.0)
    coarse = log_top - (log_top - low) * ((np.arange(24) + 0.5) / 24) ** 2
    fine = log_top - (log_top - low) * ((np.arange(150) + 0.5) / 150) ** 2
    evaluate = law_of(system, axis, log_top)
    evaluate(coarse)
    found = evaluate(fine)
    wanted = system.law(*continuation.rotate(system, axis, fine))
    scale = wanted.density.max()
    np.testing.assert_array_equal(found.solved, wanted.solved)
    np.testing.assert_allclose(found.density, wanted.density, rtol=0, atol=1e-8 * scale, err_msg="density")
    np.testing.assert_allclose(found.above, wanted.above, rtol=0, atol=1e-8, err_msg="mass above")
    return found


SYSTEMS = {
    "tanh, gaussian": lambda: product("tanh", False, 10, 1.5, 0.4),
    "tanh, orthogonal, a narrow band": lambda: product("tanh", True, 10, 0.7, 0.006),
    "layers of different lengths": lambda: product("gelu", False, 3, 1.5),
    "two bands": lambda: product({"name": "leaky-relu", "slope": 0.1}, True, 2, 1.0, 1.0),
    "hard-tanh, orthogonal, an atom": lambda: product("hard-tanh", True, 3, 1.1, 0.2),
    "fisher information": lambda: chain("tanh", True, 4, 1.5),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_neighbours_lead_to_the_same_solutions(name, monkeypatch):
    followed = []
    descend = continuation._descend

    def counting(system, axis, log_x):
        followed.append(log_x.size)
        return descend(system, axis, log_x)

    monkeypatch.setattr(continuation, "_descend", counting)
    found = check(*SYSTEMS[name]())
    inside = int(found.inside.sum())
    assert sum(followed[1:]) <= 150 - inside + inside // 4, "most points in a band are found from neighbours"


def test_the_check_rejects_solutions_of_any_sheet(monkeypatch):
    monkeypatch.setattr(continuation, "INTERIOR", -4.0)
    monkeypatch.setattr(continuation, "NEIGHBOUR", 10.0)
    systems = SYSTEMS["tanh, orthogonal, a narrow band"]()
    with pytest.raises(AssertionError, match="density"):
        check(*systems)


def test_the_upper_edge_in_closed_form():
    """relu, gaussian: m_c and z(m_c) of a law on two points."""
    depth, p, sigma_w2 = 10, 0.5, 1.3
    system = ProductSystem((Layers(slope_law(activations.get("relu"), 1.0), depth),), depth * np.log(sigma_w2), False)
    m = (np.sqrt((depth - 1) ** 2 + 4 * depth * p) - (depth - 1)) / (2 * depth)
    exact = np.log((1 + m) / m) + depth * np.log(sigma_w2 * (m + p))
    assert top(system) == pytest.approx(exact, abs=1e-14)
