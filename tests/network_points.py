"""Small points and a plain network, for the tests of sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcnet import activations, streams
from mcnet.backend import Backend, get_backend
from mcnet.networks import dense, inputs
from mcnet.observables.measure import measure
from mcnet.point import Inputs, Point
from mcnet.request import Request
from mcnet.weights.explicit import ExplicitMatrix
from mcnet.weights.laws import Ensemble

Array = NDArray[Any]
SIGNAL: dict[str, dict[str, Any]] = {"q": {}, "c": {"q_ab": True}}
GRADIENT: dict[str, dict[str, Any]] = {**SIGNAL, "q_tilde": {}, "chi": {}}


def point(count: int = 2, dimension: int | None = None, fresh: bool = False, **changes: Any) -> Point:
    """A tanh network of width 8 and depth 3 on Gaussian inputs, with changes."""
    settings: dict[str, Any] = {
        "architecture": "dense",
        "activation": "tanh",
        "weights": "gaussian",
        "width": 8,
        "depth": 3,
        "sigma_w2": 1.7,
        "sigma_b2": 0.3,
        **changes,
    }
    settings["activation"] = activations.get(settings["activation"])
    size = dimension or settings["width"]
    return Point(**settings, inputs=Inputs("gaussian", count, size, 1.0, 0.4, fresh=fresh))


def measured(
    where: Point,
    sampler: str,
    measures: dict[str, dict[str, Any]],
    start: int,
    stop: int,
    *,
    precision: str = "float64",
    seed: int = 11,
    backend: Backend | None = None,
) -> dict[str, Array]:
    """Values by variable name."""
    request = Request(measures, seed, sampler, precision)
    return {
        part.variable.name: part.values for part in measure(where, request, start, stop, backend or get_backend("cpu"))
    }


class PlainNetwork:
    """One network with matrices in hand and no trick: plain basis, float64, loops over layers."""

    def __init__(self, where: Point, network: int, seed: int) -> None:
        backend, key = get_backend("cpu"), streams.point_key(seed, where.key)
        who = Ensemble(backend, key, network, network + 1, "float64")
        self.point = where
        self.x = inputs.draw(where, seed, network, network + 1, backend)[0]  # (T, M_0)
        self.weights, self.biases = [], []
        for layer in dense.layers(where):
            matrix = ExplicitMatrix(layer, who, keep=False)
            basis = np.concatenate([np.eye(layer.inputs), np.zeros((1, layer.inputs))])[None]
            columns = matrix.apply(basis, np.r_[np.zeros(layer.inputs), 1.0])[0]
            self.weights.append(columns[:-1].T)
            self.biases.append(columns[-1])
        if not where.outputs:
            z = streams.normals(key, network, streams.PROBES, where.depth + 1, 1, where.width).astype(float)
            self.weights.append(z / math.sqrt(where.width))
            self.biases.append(np.zeros(1))

    def activity(self, layer: int = 0, push: Array | float = 0.0) -> tuple[list[Array], list[Array], Array]:
        """u^1.., h^0.., and the outputs (T, C) or the probe's product with h^depth; ``push`` is added to u^layer."""
        u, h = [], [self.x]
        for index in range(self.point.depth):
            u.append(h[-1] @ self.weights[index].T + self.biases[index] + (push if layer == index + 1 else 0.0))
            h.append(self.point.activation.phi(u[-1]))
        return u, h, h[-1] @ self.weights[-1].T + self.biases[-1]

    def slopes(self, normalize: Callable[[Array], Array] = lambda f: f) -> Array:
        """df_k(t)/dtheta by central differences, each parameter moved, (P, T, C)."""
        where, step, found = self.point, 1e-5, []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            fan_in = weight.shape[1]
            squares = {
                "standard": (1.0, 1.0),
                "ntk": (where.sigma_w2 / fan_in, where.sigma_b2),
                "pdlt": (1.0 / fan_in, 1.0),
            }[where.parameterization]  # (dW/dparameter)^2, (db/dparameter)^2
            for values, square in ((weight, squares[0]), (bias, squares[1] if where.train_biases else 0.0)):
                for place in np.ndindex(values.shape if square else (0,)):
                    kept, moved = values[place], []
                    for sign in (1, -1):
                        values[place] = kept + sign * step
                        moved.append(normalize(self.activity()[2]))
                    values[place] = kept
                    found.append(math.sqrt(square) * (moved[0] - moved[1]) / (2 * step))
        return np.array(found)

    def errors(self) -> Array:
        """d^l_k(t) by central differences, shape (depth, M, T, C); accurate to 1e-9."""
        step = 1e-5
        depth, width = self.point.depth, self.point.width
        pushes = step * np.eye(width)
        return np.array(
            [
                [(self.activity(layer, push)[2] - self.activity(layer, -push)[2]) / (2 * step) for push in pushes]
                for layer in range(1, depth + 1)
            ]
        )
