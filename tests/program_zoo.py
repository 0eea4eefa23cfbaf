"""Networks of many architectures, each a short program, at sizes for tests."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mcnet import activations, architectures, streams
from mcnet.backend import Backend, get_backend
from mcnet.programs import sampled
from mcnet.programs.parameters import Law, Laws, Parameters
from mcnet.programs.trace import Trace
from mcnet.weights.laws import Ensemble

WIDTH = 6


def dense(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in range(1, p.depth + 1):
        u = w.ask(("W", layer), h)
        h = w.phi(u)
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", h)


def residual_post(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in range(1, 4):
        u = w.ask(("W", layer), h)
        h = 0.9 * h + 0.7 * w.phi(u)
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", h)


def residual_pre(w: Any, x: Any, p: Any) -> Any:
    h = w.ask("embedding", x)
    for layer in range(1, 4):
        h = 0.9 * h + w.ask(("W", layer), w.phi(h)) * 0.7
        w.see("u", layer, h)
    return w.ask("readout", w.phi(h))


def residual_two(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in range(1, 4):
        u = w.ask(("W", layer), h)
        h = 0.9 * h + 0.7 * w.ask(("V", layer), w.phi(u))
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", h)


def convolution(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in (1, 2):
        u = w.ask(("W", layer), w.patches(h, "position", [-1, 0, 1], [0.2, 0.5, 0.3]))
        h = w.phi(u)
        w.see("u", layer, u)
    return w.ask("readout", w.mean(h, "position"))


def convolution_2d(w: Any, x: Any, p: Any) -> Any:
    h, taps = x, [(i, j) for i in (-1, 0) for j in (0, 1)]
    for layer in (1, 2):
        u = w.ask(("W", layer), w.patches(h, ("position_1", "position_2"), taps, [0.25] * 4))
        h = w.phi(u)
        w.see("u", layer, u)
    flat = [w.mean(w.rows(np.eye(3)[i : i + 1], h, "position_2"), "position_2") for i in range(3)]
    return w.ask("readout", w.mean(w.concat(flat), "position_1"))


def recurrent(w: Any, x: Any, p: Any) -> Any:
    h = x
    for step in range(1, 5):
        u = w.ask("W", h)
        h = w.phi(u)
        w.see("u", step, u)
    return w.ask("readout", h)


def minimal_rnn(w: Any, x: Any, p: Any) -> Any:
    h = x
    for step in range(1, 4):
        z = w.draw(("x", step), 0.8)
        u = w.apply("sigmoid", w.ask("Wu", h) + w.ask("Vu", z) + 0.5)
        h = u * h + (1 - u) * z
        w.see("h", step, h)
    return w.ask("readout", h)


def gated(w: Any, x: Any, p: Any) -> Any:
    """An LSTM step on a sequence given by the rows of an axis, and a subtraction."""
    h = c = w.mean(x, "time")
    for step in range(3):
        z = w.mean(w.rows(np.eye(3)[step : step + 1], w.shift(x, "time", 1), "time"), "time")
        gates = {name: w.ask(f"W{name}", h) + w.ask(f"U{name}", z) for name in "fiog"}
        f, i, o = (w.apply("sigmoid", gates[name]) for name in "fio")
        c = f * c + i * w.phi(gates["g"])
        h = o * w.phi(c) - h / 3
        w.see("h", step + 1, h)
    return w.ask("readout", h)


def batch_norm(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in (1, 2):
        u = w.ask(("W", layer), h)
        h = w.phi(w.batch_norm(u))
        w.see("u", layer, u)
    return w.ask("readout", h)


def layer_norm(w: Any, x: Any, p: Any) -> Any:
    h = x
    for layer in (1, 2):
        u = w.layer_norm(w.ask(("W", layer), h), 1e-3)
        h = w.phi(u)
        w.see("u", layer, u)
    return w.ask("readout", h)


def transformer(w: Any, x: Any, p: Any) -> Any:
    h = w.ask("embedding", x)
    for layer in (1, 2):
        heads = []
        for head in (1, 2):
            q, k, v = (w.ask((name, layer, head), h, 4) for name in ("query", "key", "value"))
            heads.append(w.attention(q, k, v, scale=0.5))
        h = 0.9 * h + 0.7 * w.ask(("output", layer), w.concat(heads))
        h = w.layer_norm(0.9 * h + 0.7 * w.ask(("V", layer), w.phi(w.ask(("W", layer), h))))
        w.see("h", layer, h)
    return w.ask("readout", w.mean(h, "token"))


def halved(w: Any, x: Any, p: Any) -> Any:
    """Halves of neighbours, of one vector, and of an answer that is the same for all inputs and positions."""
    even = 2 * (p.width // 2)
    h = w.ask("embedding", x, even)
    drawn = w.ask("V", w.draw("x", 0.8), even)
    for layer in (1, 2):
        u = w.ask(("W", layer), w.halves(h, w.shift(h, "position", 1)), even)
        h = w.halves(w.halves(w.phi(u), u), drawn)
        w.see("u", layer, u)
        w.see("h", layer, h)
    return w.ask("readout", w.mean(h, "position"))


class Case(NamedTuple):
    """A program and the rows of its input; ``given``: the values of its keys where it is an architecture's."""

    network: Any
    axes: dict[str, int]
    outputs: int | None = 1
    inputs: int = 2
    given: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        if self.given is None:
            return str(self.network.__name__)
        return " ".join([self.network, *(str(value) for value in self.given.values())])


CASES = [
    Case(dense, {}, 2),
    Case(residual_post, {}),
    Case(residual_pre, {}),
    Case(residual_two, {}, None),
    Case(convolution, {"position": 4}),
    Case(convolution_2d, {"position_1": 2, "position_2": 3}, 2),
    Case(recurrent, {}),
    Case(minimal_rnn, {}, 2),
    Case(gated, {"time": 3}),
    Case(batch_norm, {}, 2, 3),
    Case(layer_norm, {}),
    Case(transformer, {"token": 3}, 2),
    Case(halved, {"position": 3}, 2),
]
BY_NAME = {case.name: case for case in CASES}


def shipped(name: str, *, outputs: int | None = 1, inputs: int = 2, **given: Any) -> Case:
    """The program of an architecture that comes with mcnet, or with values of all parameters."""
    made = Case(name, {}, outputs, inputs, given)
    return made._replace(axes=architectures.lookup(name).axes(parameters(made)))


def laws(parameters: Parameters) -> Laws:
    if name := parameters.get("architecture"):
        return architectures.lookup(name).laws_of(parameters)
    given = {
        "W": (1.5, 0.1),
        "V": (1.2, 0.05),
        "embedding": (1.0, 0.0),
        **dict.fromkeys(("query", "key", "value", "output"), (0.8, 0.0)),
    }
    return Laws(given, Law(parameters.sigma_w2, parameters.sigma_b2))


def parameters(case: Case, **changes: Any) -> Parameters:
    values = {"width": WIDTH, "depth": 3, "sigma_w2": 1.3, "sigma_b2": 0.1, "activation": activations.get("tanh")}
    values = {**values, "outputs": case.outputs, **changes}
    if case.given is None:
        return Parameters(values)
    found = architectures.lookup(case.network)
    common = {"weights": "gaussian", "readout": "gaussian", **values, "architecture": case.network}
    own = {name: value for name, value in case.given.items() if name in found.keys}
    return found.parameters({**common, **{k: v for k, v in case.given.items() if k not in own}}, own)


def inputs(case: Case, width: int, networks: int = 1, seed: int = 3) -> np.ndarray:
    """In the difference basis, (networks, T, ..., M)."""
    x = np.random.default_rng(seed).normal(size=(networks, case.inputs, *case.axes.values(), width))
    x[:, 1:] = 0.7 * x[:, 1:] + 0.5 * x[:, :1]
    x[:, 1:] -= x[:, :1]
    return x


def run(
    case: Case,
    sampler: str,
    networks: int = 1,
    *,
    backend: Backend | None = None,
    precision: str = "float64",
    backward: bool = True,
    start: int = 0,
    x: Any = None,
    seed: int = 5,
    options: dict[str, Any] | None = None,
    **changes: Any,
) -> Trace:
    p = parameters(case, **changes)
    backend = backend or get_backend("cpu")
    who = Ensemble(backend, streams.seed_key(seed), start, start + networks, precision)
    x = backend.place(inputs(case, p.width)) if x is None else x
    names = tuple(case.axes)
    network = case.network if case.given is None else architectures.lookup(case.network).network
    return sampled.run(network, p, laws(p), x, names, who, sampler, backward=backward, **(options or {}))
