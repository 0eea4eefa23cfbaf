"""Small ensembles, sampled here in plain NumPy, as datasets for the tests of the analysis."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import xarray

from mcnet import activations


def sample_lengths(
    rng: np.random.Generator,
    networks: int,
    width: int,
    gram: np.ndarray,
    activation: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
) -> dict[str, np.ndarray]:
    """q, q_hat, c of Gaussian networks: given K^(l-1), the rows of U^l are i.i.d. N(0, sigma_w2 K^(l-1) + sigma_b2)."""
    phi = activations.get(activation).phi
    count = len(gram)
    k = np.broadcast_to(gram, (networks, count, count))
    q = np.full((networks, count, depth + 1), np.nan)
    q_hat = np.full((networks, count, depth + 1), np.nan)
    c = np.full((networks, count * (count - 1) // 2, depth + 1), np.nan)
    q_hat[:, :, 0] = np.diagonal(gram)
    for layer in range(1, depth + 1):
        s = sigma_w2 * k + sigma_b2
        root = np.linalg.cholesky(s + 1e-14 * np.eye(count))
        u = rng.normal(size=(networks, width, count)) @ root.swapaxes(1, 2)
        h = phi(u)
        overlap, k = u.swapaxes(1, 2) @ u / width, h.swapaxes(1, 2) @ h / width
        q[:, :, layer] = np.diagonal(overlap, axis1=1, axis2=2)
        q_hat[:, :, layer] = np.diagonal(k, axis1=1, axis2=2)
        for p, (a, b) in enumerate(combinations(range(count), 2)):
            c[:, p, layer] = overlap[:, a, b] / np.sqrt(overlap[:, a, a] * overlap[:, b, b])
    return {"q": q, "q_hat": q_hat, "c": c}


def point(width: int, networks: int, **law: Any) -> dict[str, Any]:
    """Coordinates of a point, with the usual values where nothing is said."""
    usual = {
        "architecture": "dense",
        "depth": 4,
        "activation": "tanh",
        "weights": "gaussian",
        "sigma_w2": 1.5,
        "sigma_b2": 0.1,
        "normalization": "none",
        "readout": "",
        "outputs": 0,
        "parameterization": "standard",
        "train_biases": True,
        "input_kind": "pair",
        "inputs": 2,
        "input_dimension": width,
        "q0": 1.0,
        "c0": 0.5,
        "fresh": False,
        "point_key": "0" * 16,
    }
    return {"width": width, "n_networks": networks, **usual, **law}


def gram_of(coordinates: dict[str, Any]) -> np.ndarray:
    count = coordinates["inputs"]
    c0 = coordinates["c0"] if count > 1 else 0.0
    return coordinates["q0"] * (c0 + (1 - c0) * np.eye(count))


def dataset(
    points: Sequence[dict[str, Any]],
    values: Sequence[dict[str, np.ndarray]],
    scenario: str = 'mcnet = 1\ntitle = "test"\n',
) -> xarray.DataTree:
    """A dataset as ``mcnet.open`` gives it: padded with NaN, `n_networks` says how many networks are real."""
    most = max(p["n_networks"] for p in points)
    count = max(p["inputs"] for p in points)
    depth = max(p["depth"] for p in points)
    root = xarray.Dataset(
        {"input_gram": (("point", "input_a", "input_b"), np.full((len(points), count, count), np.nan))},
        {name: ("point", [p[name] for p in points]) for name in points[0]},
        {
            "scenario_toml": scenario,
            "title": "test",
            "mcnet_version": "0",
            "seed": 1,
            "activations_json": json.dumps(
                {p["activation"]: activations.get(p["activation"]).specification for p in points}
            ),
        },
    )
    for i, p in enumerate(points):
        root["input_gram"][i, : p["inputs"], : p["inputs"]] = gram_of(p)
    signal = {}
    for name in values[0]:
        inner = "pair" if name == "c" else "input"
        rows = count * (count - 1) // 2 if name == "c" else count
        padded = np.full((len(points), most, rows, depth + 1), np.nan)
        for i, v in enumerate(values):
            n, r, layers = v[name].shape
            padded[i, :n, :r, :layers] = v[name]
        signal[name] = (("point", "network", inner, "layer"), padded)
    return xarray.DataTree.from_dict(
        {"/": root, "/signal": xarray.Dataset(signal, {"layer": np.arange(depth + 1)})}, name="root"
    )


def ensemble(
    widths: Sequence[int],
    networks: int,
    seed: int,
    change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = lambda v: v,
    scenario: str = 'mcnet = 1\ntitle = "test"\n',
    laws: Sequence[dict[str, Any]] = ({},),
) -> xarray.DataTree:
    """Gaussian networks at each width for each law, measured; `change` spoils the values."""
    rng = np.random.default_rng(seed)
    points = [point(width, networks, **law) for law, width in product(laws, widths)]
    values = [
        change(
            sample_lengths(
                rng, networks, p["width"], gram_of(p), p["activation"], p["sigma_w2"], p["sigma_b2"], p["depth"]
            )
        )
        for p in points
    ]
    return dataset(points, values, scenario)
