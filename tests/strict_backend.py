"""A backend whose arrays refuse everything that arrays of a GPU refuse: array_api_strict on a device of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import array_api_strict as strict
import numpy as np
from scipy.special import erf

from mcnet.backend import Backend
from mcnet.kernels import reference

DEVICE = strict.Device("device1")
HOST = strict.Device("CPU_DEVICE")


def place(values: Any) -> Any:
    return strict.asarray(np.asarray(values), device=DEVICE)


def fetch(array: Any) -> Any:
    return np.asarray(array.to_device(HOST))


def _numbers(function: Any) -> Any:
    def placed(*arguments: Any, dtype: Any, **where: Any) -> Any:
        return place(function(*arguments, dtype=np.float32 if dtype == strict.float32 else np.float64, **where))

    return placed


def _chain(key: Any, start: int, stop: int, gram: Any, **settings: Any) -> Any:
    return reference.Chain(*map(place, reference.conditioned_chain(key, start, stop, fetch(gram), **settings)))


def _tangent_chain(key: Any, start: int, stop: int, gram: Any, **settings: Any) -> Any:
    return reference.TangentChain(*map(place, reference.tangent_chain(key, start, stop, fetch(gram), **settings)))


STRICT = Backend(
    name="strict",
    device="arrays that refuse to mix",
    xp=strict,
    kernels=SimpleNamespace(
        normals=_numbers(reference.normals),
        uniforms=_numbers(reference.uniforms),
        conditioned_chain=_chain,
        tangent_chain=_tangent_chain,
        erf=lambda u: place(erf(fetch(u))),
    ),
    place=place,
    fetch=fetch,
)
