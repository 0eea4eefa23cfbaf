"""The code above the kernels where it does not meet NumPy on the CPU: other arrays, other kernels, memory that ends."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_host.build import compiler, kernels
from network_points import GRADIENT, SIGNAL, measured, point
from strict_backend import STRICT, fetch, place

from mcnet import activations
from mcnet.backend import Backend, get_backend
from mcnet.kernels.cuda import device as cupy_device

ROOT = Path(__file__).resolve().parents[3]
CPU = get_backend("cpu")


@pytest.mark.parametrize("name", activations.names())
def test_activations(name: str) -> None:
    """All of them as array functions; relu-like ones must not meet a Python number where an array belongs."""
    u = np.linspace(-3, 3, 50)
    strict = place(u)
    activation = activations.get(name)
    phi, dphi = activation.phi(strict, STRICT.mathematics(strict)), activation.dphi(strict, STRICT.mathematics(strict))
    np.testing.assert_allclose(fetch(phi), activation.phi(u), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(fetch(dphi) + 0 * u, activation.dphi(u), rtol=1e-14, atol=1e-15)


@pytest.mark.skipif(compiler() is None, reason="g++ is missing: CUDA kernels cannot be built for the host")
@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
@pytest.mark.parametrize("weights", ["gaussian", "uniform"])
def test_networks_of_the_device_are_those_of_the_cpu(weights: str, sampler: str) -> None:
    """Everything above the launches as on a GPU, the kernels on the host: network by network the same numbers."""
    if weights == "uniform" and sampler == "conditioned":
        pytest.skip("uniform weights have no conditioned form")
    device = Backend("cuda:0", "host", cupy_device.Namespace(np, None), kernels(), np.asarray, np.asarray)
    device = dataclasses.replace(device, register_vectors=8, tangent_inputs=2, fused_activation=True)
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
    *("abs", "all", "any", "arange", "asarray", "astype", "bool", "broadcast_to", "clip", "concat", "count_nonzero"),
    *("diagonal", "empty", "empty_like", "exp", "expand_dims", "eye", "flip", "float32", "float64", "floor", "full"),
    *(
        "full_like",
        "hypot",
        "isfinite",
        "log",
        "log2",
        "matrix_transpose",
        "max",
        "maximum",
        "mean",
        "min",
        "minimum",
        "nan",
    ),
    *("ones_like", "permute_dims", "pow", "reshape", "sign", "sqrt", "stack", "sum", "take_along_axis", "trace"),
    *("tril", "triu", "where", "zeros", "zeros_like"),
    *("linalg.cholesky", "linalg.eigh", "linalg.inv", "linalg.qr", "linalg.solve", "linalg.svd"),
}


def test_cupy_has_what_is_asked_of_it() -> None:
    rooms = ("mcnet/weights", "mcnet/networks", "mcnet/observables")
    files = [path for room in rooms for path in (ROOT / room).glob("*.py")]
    files += [
        ROOT / "mcnet" / name
        for name in (
            "networks/inputs.py",
            "kernels/linalg.py",
            "kernels/graded.py",
            "kernels/grams.py",
            "kernels/basis.py",
        )
    ]
    files += [ROOT / "mcnet/kernels/reflections.py"]
    own = {name for name in vars(cupy_device.Namespace) if not name.startswith("_")}
    own |= {f"linalg.{name}" for name in vars(cupy_device._Linalg) if not name.startswith("_")}
    for path in files:
        asked = set(re.findall(r"\bxp\.((?:linalg\.)?\w+)", path.read_text(encoding="utf-8"))) - {"linalg"}
        assert asked <= CUPY | own, f"{path.name}: {sorted(asked - CUPY - own)}"
