"""The code above the kernels on arrays that are neither NumPy's nor on its device: what a GPU would refuse fails here.

array_api_strict on its device ``device1`` refuses NumPy functions, NumPy arrays, mixed devices and types, and all
that is not in the array-API standard.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import array_api_strict
import numpy as np
import pytest
from cuda_host.build import compiler, kernels
from network_points import GRADIENT, SIGNAL, measured, point
from numpy.typing import NDArray
from scipy.special import erf

from mcnet import activations
from mcnet.backend import Backend, get_backend
from mcnet.kernels import cupy_device

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = array_api_strict.Device("device1")
CPU = get_backend("cpu")
TANGENT: dict[str, dict[str, Any]] = {"q": {}, "ntk": {"blocks": "all"}, "fim": {}}


def place(values: NDArray[Any]) -> Any:
    return array_api_strict.asarray(np.ascontiguousarray(values), device=ELSEWHERE)


def fetch(values: Any) -> NDArray[Any]:
    return np.asarray(values.to_device(array_api_strict.Device("CPU_DEVICE")))


class StrictKernels:
    """The kernels of the CPU with arrays of another device going in and coming out."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(CPU.kernels, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if "dtype" in options:
                options["dtype"] = np.float64 if options["dtype"] == array_api_strict.float64 else np.float32
            result = function(*(given(argument) for argument in arguments), **options)
            return place(result) if isinstance(result, np.ndarray) else type(result)(*map(place, result))

        def given(argument: Any) -> Any:
            return fetch(argument) if hasattr(argument, "__array_namespace__") else argument

        return call

    def erf(self, u: Any) -> Any:
        return place(erf(fetch(u)))


STRICT = Backend("strict", "device1", array_api_strict, StrictKernels(), place, fetch)


def assert_same(where: Any, sampler: str, measures: Any, precision: str = "float64", **changes: Any) -> None:
    ours = measured(where, sampler, measures, 2, 5, precision=precision, backend=STRICT)
    theirs = measured(where, sampler, measures, 2, 5, precision=precision)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        tolerance = 1e-9 if precision == "float64" else 1e-3  # of numbers that went through the same steps
        np.testing.assert_allclose(ours[name], values, rtol=tolerance, atol=tolerance, err_msg=name, **changes)


@pytest.mark.parametrize("precision", ["mixed", "float64"])
@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_signal_and_gradient(weights: str, sampler: str, precision: str) -> None:
    assert_same(point(2, weights=weights, width=24), sampler, GRADIENT, precision)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal", "uniform"])
def test_explicit_laws_and_readout(weights: str) -> None:
    assert_same(point(3, weights=weights, width=24, outputs=2, readout="gaussian"), "explicit", GRADIENT)


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize("normalization", ["none", "last-mean", "last-batch"])
def test_tangent_and_fisher(sampler: str, normalization: str) -> None:
    where = point(3, width=24, outputs=3, readout="gaussian", normalization=normalization)
    assert_same(where, sampler, TANGENT)


def test_jacobian() -> None:
    for weights in ("gaussian", "orthogonal"):
        for dimension in (10, 30):
            where = point(1, dimension=dimension, weights=weights, width=24)
            assert_same(where, "explicit", {"jacobian": {"keep": "values"}})


@pytest.mark.parametrize("name", activations.names())
def test_activations(name: str) -> None:
    """All of them as array functions; relu-like ones must not meet a Python number where an array belongs."""
    u = np.linspace(-3, 3, 50)
    strict = place(u)
    activation = activations.get(name)
    phi, dphi = activation.phi(strict, STRICT.mathematics(strict)), activation.dphi(strict, STRICT.mathematics(strict))
    np.testing.assert_allclose(fetch(phi), activation.phi(u), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(fetch(dphi) + 0 * u, activation.dphi(u), rtol=1e-14, atol=1e-15)


def test_fresh_inputs_of_every_network() -> None:
    assert_same(point(2, fresh=True, width=24), "conditioned", SIGNAL)


@pytest.mark.skipif(compiler() is None, reason="g++ is missing: CUDA kernels cannot be built for the host")
@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize("weights", ["gaussian", "uniform"])
def test_networks_of_the_device_are_those_of_the_cpu(weights: str, sampler: str) -> None:
    """Everything above the launches as on a GPU, the kernels on the host: network by network the same numbers."""
    if weights == "uniform" and sampler == "conditioned":
        pytest.skip("uniform weights have no conditioned form")
    device = Backend("cuda:0", "host", cupy_device.Namespace(np, None), kernels(), np.asarray, np.asarray)
    device = dataclasses.replace(device, register_vectors=8)
    where = point(2, weights=weights, width=24)
    for precision, tolerance in (("float64", 1e-11), ("mixed", 2e-4)):
        ours = measured(where, sampler, GRADIENT, 2, 5, precision=precision, backend=device)
        theirs = measured(where, sampler, GRADIENT, 2, 5, precision=precision)
        for name, values in theirs.items():
            np.testing.assert_allclose(ours[name], values, rtol=tolerance, err_msg=name)


class Exhausted(Exception):
    """What a device raises where its memory ends."""


def test_memory_that_runs_out_halves_the_sub_batch_and_changes_no_bit() -> None:
    sizes: list[int] = []

    class Kernels:
        normals = staticmethod(CPU.kernels.normals)

        def conditioned_chain(self, key: Any, start: int, stop: int, *arguments: Any, **options: Any) -> Any:
            sizes.append(stop - start)
            if stop - start > 3:
                raise Exhausted
            return CPU.kernels.conditioned_chain(key, start, stop, *arguments, **options)

    small = dataclasses.replace(CPU, name="cuda:0", kernels=Kernels(), exhausted=(Exhausted,))
    ours = measured(point(2), "conditioned", SIGNAL, 0, 10, backend=small)
    assert sizes == [10, 5, 2, 2, 2, 2, 2]
    theirs = measured(point(2), "conditioned", SIGNAL, 0, 10)
    assert all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in theirs)


# What CuPy 14 has (looked up with CuPy 14.2) of what is asked of the namespace; the rest is in Namespace.
CUPY = {
    *("abs", "all", "any", "arange", "asarray", "astype", "bool", "broadcast_to", "concat", "count_nonzero"),
    *("diagonal", "empty", "empty_like", "expand_dims", "eye", "flip", "float32", "float64", "floor", "full"),
    *("full_like", "isfinite", "log2", "matrix_transpose", "max", "maximum", "mean", "min", "minimum", "nan"),
    *("ones_like", "permute_dims", "pow", "reshape", "sign", "sqrt", "stack", "sum", "take_along_axis", "trace"),
    *("tril", "triu", "where", "zeros", "zeros_like"),
    *("linalg.cholesky", "linalg.eigh", "linalg.inv", "linalg.qr", "linalg.solve", "linalg.svd"),
}


def test_cupy_has_what_is_asked_of_it() -> None:
    rooms = ("mcnet/weights", "mcnet/networks", "mcnet/observables")
    files = [path for room in rooms for path in (ROOT / room).glob("*.py")]
    files += [ROOT / "mcnet/inputs.py", ROOT / "mcnet/kernels/linalg.py"]
    own = {name for name in vars(cupy_device.Namespace) if not name.startswith("_")}
    own |= {f"linalg.{name}" for name in vars(cupy_device._Linalg) if not name.startswith("_")}
    for path in files:
        asked = set(re.findall(r"\bxp\.((?:linalg\.)?\w+)", path.read_text(encoding="utf-8"))) - {"linalg"}
        assert asked <= CUPY | own, f"{path.name}: {sorted(asked - CUPY - own)}"
