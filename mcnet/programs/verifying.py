"""Trial of a program on small networks: what does not hold is refused, before anything is sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mcnet import activations, streams
from mcnet.backend import get_backend
from mcnet.programs import sampled
from mcnet.programs.axes import Axes
from mcnet.programs.counted import Count, count
from mcnet.programs.names import ProgramError, text_of
from mcnet.programs.parameters import Laws, Network, Parameters
from mcnet.programs.questions import Parameterization
from mcnet.programs.trace import Trace
from mcnet.weights.laws import Ensemble

INPUTS, WIDTH = 3, 6

COMMON: Mapping[str, Any] = {
    "depth": 2,
    "activation": activations.get("tanh"),
    "sigma_w2": 1.5,
    "sigma_b2": 0.1,
    "weights": "gaussian",
    "readout": "gaussian",
}
"""Parameters of the trial beside width and outputs."""

Instance = Callable[[int, int | None], tuple[Parameters, Laws, Axes]]
"""(width, outputs) -> parameters, laws of matrices and row axes of the input."""


def verify(what: str, network: Network, instance: Instance) -> None:
    """Run a program on shapes and on two sampled networks, with and without a readout.

    Parameters
    ----------
    what : str
        How messages begin.
    network : callable
    instance : callable

    Raises
    ------
    ProgramError
        If it fails, or has rows or matrices that depend on the width, or gives numbers that are not finite.
    """
    try:
        counts = [_counted(network, instance, width, 2) for width in (WIDTH, WIDTH + 2)]
        probed = _counted(network, instance, WIDTH, None)
        parameters, laws, axes = instance(WIDTH, 2)
        trace = _sampled(network, parameters, laws, axes)
    except ProgramError as error:
        raise ProgramError(f"{what}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError) as error:
        raise ProgramError(f"{what}: fails on a small network: {type(error).__name__}: {error}") from error
    if _rows(counts[0]) != _rows(counts[1]):
        raise ProgramError(f"{what}: rows or matrices depend on the width; rows of a program never do")
    if counts[0].output.units != 2:
        raise ProgramError(
            f"{what}: gives {counts[0].output.units} units where 2 outputs are wanted; it must "
            'return w.ask("readout", h)'
        )
    if not probed.probed:
        raise ProgramError(f'{what}: without outputs it must return w.ask("readout", h), nothing that is made of it')
    if not any(key[0] in ("u", "h") for key in counts[0].seen if key != ("h", 0)):
        raise ProgramError(f'{what}: nothing can be observed of it: call w.see("u", layer, u) or w.see("h", layer, h)')
    for key in trace.seen:
        _finite(f'{what}: the vector "{text_of(key)}"', trace.gram(key))
    _finite(f"{what}: the outputs", trace.outputs)
    _finite(f"{what}: the gradients", trace.backward(Parameterization("ntk", True)).kernel)


def _counted(network: Network, instance: Instance, width: int, outputs: int | None) -> Count:
    parameters, laws, axes = instance(width, outputs)
    return count(network, parameters, laws, axes, width)


def _sampled(network: Network, parameters: Parameters, laws: Laws, axes: Axes) -> Trace:
    x = np.random.default_rng(0).normal(size=(1, *axes.values(), WIDTH))
    who = Ensemble(get_backend("cpu"), streams.seed_key(0), 0, 2, "float64")
    with np.errstate(all="ignore"):
        return sampled.run(network, parameters, laws, x, tuple(axes)[1:], who, "explicit", backward=True)


def _rows(found: Count) -> list[Any]:
    matrices = [(key, matrix.asks, matrix.forward) for key, matrix in found.matrices.items()]
    return [matrices, found.output.axes, [(key, v.axes) for key, v in found.seen.items()]]


def _finite(what: str, array: Any) -> None:
    if not np.isfinite(array).all():
        raise ProgramError(f"{what} are not finite" if what.endswith("s") else f"{what} is not finite")
