"""Small studies of every architecture, and of training, for the check of a GPU.

Together with :func:`benchmarks.gpu_agreement.ensembles` they ask for every observable and every architecture that mcnet
ships; a test says which one is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mcnet import activations, architectures
from mcnet.architectures.program import frozen_keys
from mcnet.point import Inputs, Point
from mcnet.recipe import Recipe
from mcnet.request import Request

Study = tuple[str, Point, Request]
Measures = dict[str, dict[str, Any]]

SIGNAL: Measures = {"q": {}, "c": {}, "q_tilde": {}, "mean": {}}
_COURSE = "loss output diverged_step sharpness ntk_drift linear_deviation coordinate_check catapult_peak"
COURSE: Measures = {name: {} for name in _COURSE.split()}
BOUNDARY: dict[str, Any] = {"steps": 4, "low": 0.5, "high": 8.0, "halvings": 2}
BOUNDARIES: Measures = {f"boundary_{name}": BOUNDARY for name in ("instability", "monotone", "divergence")}
PROGRAMS: dict[str, dict[str, Any]] = {
    "residual": {},
    "convolution": {"positions": 6},
    "recurrent": {},
    "minimal-rnn": {},
    "gru": {},
    "lstm": {},
    "transformer": {"tokens": 3, "heads": 2},
}
"""Keys of each architecture beside the dense one, where it needs any."""


def program(architecture: str, width: int, count: int = 2, weights: str = "gaussian", **changes: Any) -> Point:
    """A network of an architecture on Gaussian inputs; ``changes`` of the point, and keys of the architecture."""
    known = architectures.lookup(architecture)
    keys = {name: changes.pop(name) for name in list(changes) if name in known.keys}
    settings: dict[str, Any] = {"weights": weights, "width": width, "depth": 3, "sigma_w2": 1.2, "sigma_b2": 0.1}
    settings |= {"activation": activations.get("tanh"), "train_biases": True, **changes}
    settings["parameters"] = frozen_keys(known, keys)
    return Point(architecture, inputs=Inputs("gaussian", count, width, 1.0, 0.4), **settings)


def programs(quick: bool, precision: str) -> Iterator[Study]:
    """Every architecture: signal and errors asked and built, tangent kernel, Jacobian, and what it alone has."""
    width = 16 if quick else 128
    for name, keys in PROGRAMS.items():
        where = program(name, width, outputs=2, **keys)
        tangent: Measures = {"ntk": {"blocks": "all"}, "fim": {}}
        for sampler in ("conditioned", "explicit"):
            yield f"{name}, {sampler}, {precision}", where, Request({**SIGNAL, **tangent}, 3, sampler, precision)
        alone = program(name, width, 1, **keys)
        yield f"jacobian of {name}, {precision}", alone, Request({"jacobian": {}}, 3, "explicit", precision)
    yield from _laws(width, precision)
    yield from _special(width, precision)


def _laws(width: int, precision: str) -> Iterator[Study]:
    for law in ("orthogonal", "uniform"):
        sampler = "explicit" if law == "uniform" else "conditioned"
        yield (
            f"residual {law}, {precision}",
            program("residual", width, weights=law),
            _asked(SIGNAL, sampler, precision),
        )
    delta = program("convolution", width, weights="delta-orthogonal", positions=5)
    yield f"convolution delta-orthogonal, {precision}", delta, _asked(SIGNAL, "explicit", precision)
    for kind in ("hidden-batch", "hidden-layer"):
        inside = program("dense", width, 4, normalization=kind, epsilon=0.01)
        yield f"{kind}, {precision}", inside, _asked(SIGNAL, "conditioned", precision)


def _special(width: int, precision: str) -> Iterator[Study]:
    """Observables that one kind of network has."""
    residual, recurrent = program("residual", width), program("recurrent", width)
    blocks: Measures = {"block_jacobian": {}, "branch_energy": {}}
    yield f"blocks, {precision}", program("residual", width, 1), _asked(blocks, "explicit", precision)
    top: Measures = {"block_jacobian_lambda_max": {}, "jacobian_lambda_max": {}}
    yield f"tops of blocks, {precision}", program("residual", width, 1), _asked(top, "conditioned", precision)
    yield f"chi, {precision}", residual, _asked({"chi": {}}, "conditioned", precision)
    times: Measures = {"two_time": {}, "autocorrelation": {}}
    yield f"two times, {precision}", recurrent, _asked(times, "conditioned", precision)
    yield (
        f"lyapunov, {precision}",
        program("recurrent", width, 1),
        _asked({"lyapunov": {"exponents": 2}}, "auto", precision),
    )
    tokens = program("transformer", width, 1, tokens=4)
    attention: Measures = {"token_similarity": {}, "attention_entropy": {}}
    yield f"attention, {precision}", tokens, _asked(attention, "explicit", precision)
    picture = program("convolution", width, 1, positions=8)
    waves: Measures = {"fourier": {}, "fourier_gradient": {}}
    yield f"waves, {precision}", picture, _asked(waves, "conditioned", precision)
    batch = program("dense", width, 4, normalization="hidden-batch", epsilon=0.01)
    growth: Measures = {"bn_gram": {}, "bn_gradient_growth": {}}
    yield f"batch normalisation, {precision}", batch, _asked(growth, "conditioned", precision)
    outputs = program("dense", width, 4, outputs=3)
    fisher: Measures = {"fim_constant_mode": {}, "fim_softmax_eigenvalue": {}, "conjugate_kernel": {}}
    yield f"kernels of outputs, {precision}", outputs, _asked(fisher, "conditioned", precision)
    yield (
        f"conditional Fisher, {precision}",
        program("dense", width, 1),
        _asked({"conditional_fim": {}}, "explicit", precision),
    )


def trainings(quick: bool) -> Iterator[Study]:
    """Gradient descent, minibatches and Adam; matrices changed in place and asked; boundaries of the learning rate."""
    width = 16 if quick else 128
    recipe = Recipe("squared", "teacher", (0.3,), 4, (0, 2, 4))
    dense = program("dense", width, 4, outputs=1)
    for sampler in ("conditioned", "explicit"):
        yield _trained(f"gradient descent, {sampler}", dense, recipe, {**COURSE, "limit_deviation": {}}, sampler)
    some: Measures = {"loss": {}, "output": {}}
    for optimizer, more in (
        ("sgd", {"batch_size": 2, "order": "shuffled"}),
        ("momentum", {"momentum": 0.9}),
        ("adam", {"adam": (0.9, 0.99, 1e-6), "learning_rate": (0.01,)}),
    ):
        yield _trained(optimizer, dense, replace(recipe, optimizer=optimizer, **more), some, "explicit")
    two = program("dense", width, 4, outputs=2)
    yield _trained("softmax", two, replace(recipe, loss="softmax"), some, "explicit")
    for name in ("residual", "transformer"):
        deep = program(name, width, 3, outputs=1, **PROGRAMS[name])
        yield _trained(f"{name} in training", deep, recipe, some, "explicit")
    bound = replace(recipe, learning_rate=(1.0,), learning_rate_unit="bound")
    yield _trained("boundaries", dense, bound, BOUNDARIES, "explicit")


def _trained(name: str, where: Point, recipe: Recipe, measures: Measures, sampler: str) -> Study:
    method = "built" if sampler == "explicit" else "conditioned"
    how = replace(recipe, method=method)
    return name, replace(where, train=how), Request(measures, 3, sampler, "float64", how)


def _asked(measures: Measures, sampler: str, precision: str) -> Request:
    return Request(measures, 3, sampler, precision)
