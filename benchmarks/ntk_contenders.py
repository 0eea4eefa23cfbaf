"""The same tangent kernels by other means: NumPy, torch.func and neural-tangents where they can be imported."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcnet import activations

DEPTH, SIGMA_W2 = 3, 2.0
INPUTS = np.array([[math.sqrt(2.0), 0.0], [0.6 * math.sqrt(2.0), 0.8 * math.sqrt(2.0)]], np.float32)

Kernels = Callable[[str, int, int], Any]
"""(activation, width, networks) -> tangent kernels of so many new networks, (N, 2, 2)."""


def explicit(activation: str, width: int, networks: int) -> Any:
    """Weight matrices, forward and backward pass, all networks of a batch in one product of NumPy."""
    phi, rng = activations.get(activation), np.random.default_rng(1)
    h = np.broadcast_to(INPUTS.T, (networks, 2, 2))
    weights, below, slopes = [], [], []
    for fan_in in (2, *[width] * (DEPTH - 1)):
        w = rng.standard_normal((networks, width, fan_in), np.float32) * np.float32(math.sqrt(SIGMA_W2 / fan_in))
        u = w @ h
        weights.append(w)
        below.append(h)
        slopes.append(np.asarray(phi.dphi(u), np.float32))
        h = np.asarray(phi.phi(u), np.float32)
    d = rng.standard_normal((networks, width, 1), np.float32) * np.float32(math.sqrt(SIGMA_W2 / width))
    theta = np.swapaxes(h, 1, 2) @ h
    for layer in range(DEPTH - 1, -1, -1):
        d = d * slopes[layer]
        theta = theta + (np.swapaxes(d, 1, 2) @ d) * (np.swapaxes(below[layer], 1, 2) @ below[layer])
        d = np.swapaxes(weights[layer], 1, 2) @ d
    return theta


def with_torch() -> Kernels:
    """Per-network Jacobians by torch.func, vectorised over networks."""
    torch, func = importlib.import_module("torch"), importlib.import_module("torch.func")
    torch.set_num_threads(1)
    modules = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "gelu": torch.nn.GELU}
    x = torch.tensor(INPUTS)

    def kernels(activation: str, width: int, networks: int) -> Any:
        sizes = (2, *[width] * DEPTH, 1)
        parts = [
            part
            for fan_in, units in itertools.pairwise(sizes)
            for part in (torch.nn.Linear(fan_in, units, bias=False), modules[activation]())
        ]
        model = torch.nn.Sequential(*parts[:-1])
        parameters = {
            name: torch.randn(networks, *p.shape) * math.sqrt(SIGMA_W2 / p.shape[1])
            for name, p in model.named_parameters()
        }

        def kernel(parameters: Any) -> Any:
            def outputs(parameters: Any) -> Any:
                return func.functional_call(model, parameters, (x,))[:, 0]

            jacobians = func.jacrev(outputs)(parameters)
            return sum(j.flatten(1) @ j.flatten(1).T for j in jacobians.values())

        with torch.no_grad():
            return func.vmap(kernel)(parameters).numpy()

    return kernels


def with_neural_tangents() -> Kernels:
    """Compiled empirical kernels of neural-tangents, vectorised over networks."""
    jax, nt = importlib.import_module("jax"), importlib.import_module("neural_tangents")
    functions = {"relu": jax.nn.relu, "tanh": jax.numpy.tanh, "gelu": lambda u: jax.nn.gelu(u, approximate=False)}
    made: dict[tuple[str, int, int], Any] = {}

    def kernels(activation: str, width: int, networks: int) -> Any:
        def outputs(weights: Any, x: Any) -> Any:
            for w in weights[:-1]:
                x = functions[activation](x @ w)
            return x @ weights[-1]

        def all_kernels(key: Any) -> Any:
            sizes = (2, *[width] * DEPTH, 1)
            shapes = list(itertools.pairwise(sizes))
            keys = jax.random.split(key, len(shapes))
            weights = [
                jax.random.normal(one, (networks, *shape)) * math.sqrt(SIGMA_W2 / shape[0])
                for one, shape in zip(keys, shapes, strict=True)
            ]
            empirical = nt.empirical_ntk_fn(outputs, vmap_axes=0)
            return jax.vmap(lambda weights: empirical(INPUTS, None, weights))(weights)

        name = (activation, width, networks)
        if name not in made:
            made[name] = jax.jit(all_kernels)
        return np.asarray(made[name](jax.random.PRNGKey(1)))

    return kernels


def contenders() -> tuple[dict[str, Kernels], list[str]]:
    """What can be measured here, and the names of what cannot."""
    found: dict[str, Kernels] = {"explicit NumPy": explicit}
    missing = []
    makers: Mapping[str, Callable[[], Kernels]] = {"torch.func": with_torch, "neural-tangents": with_neural_tangents}
    for name, make in makers.items():
        try:
            found[name] = make()
        except ImportError as error:
            missing.append(f"{name} ({error})")
    return found, missing
