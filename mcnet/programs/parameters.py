"""What a program is given beside its input: its parameters ``p``, and the laws of its matrices."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mcnet.programs.names import READOUT, Key, Name, ProgramError, key_of, text_of

Network = Callable[..., Any]
"""``network(w, x, p)`` or ``network(w, x)``: the interpreter, the input vector, the parameters -> the outputs."""


class Parameters:
    """The parameters of a program as attributes: ``p.depth``, ``p.sigma_w2``, and the keys of its architecture.

    Parameters
    ----------
    values : mapping of str to value
        Those that interpretations themselves read: ``width``, ``outputs`` (None without a readout), ``activation`` (an
        :class:`mcnet.activations.Activation`), ``sigma_w2``, ``sigma_b2``, ``weights`` (law of the matrices) and
        ``readout`` (law of the readout).
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            known = ", ".join(sorted(self._values))
            raise ProgramError(f"the program reads p.{name}, which is not among its parameters: {known}") from None

    @property
    def mapping(self) -> dict[str, Any]:
        """All of them by name."""
        return dict(self._values)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a parameter, or a default where it has none."""
        return self._values.get(name, default)

    def replaced(self, **changes: Any) -> Parameters:
        """The same with changes."""
        return Parameters({**self._values, **changes})


class Law(NamedTuple):
    """Law of a matrix and its bias.

    Attributes
    ----------
    sigma_w2 : float
        Variance of an entry times the fan of its questions.
    sigma_b2 : float
        Variance of the bias.
    law : str
        ``gaussian``, ``orthogonal`` or ``uniform``.
    """

    sigma_w2: float
    sigma_b2: float
    law: str = "gaussian"


class Laws:
    """Laws of matrices by name.

    Parameters
    ----------
    given : mapping of name to (sigma_w2, sigma_b2) or (sigma_w2, sigma_b2, law)
        A name means this matrix (``"W3"``, ``("W", 3)``) or all that begin so (``"W"``).
    default : Law or None
        Of all others; None where each matrix must be named.
    readout : str
        Law of the readout's entries where none is given for it.

    Raises
    ------
    ProgramError
        If a variance is negative or not finite.
    """

    def __init__(
        self, given: Mapping[Any, Sequence[Any]], default: Law | None = None, readout: str = "gaussian"
    ) -> None:
        law = default.law if default else "gaussian"
        self._given = {key_of(name): _law(name, values, law, readout) for name, values in given.items()}
        self._default, self._readout = default, readout

    def of(self, name: Name) -> Law:
        """The law of a matrix: of its own name, else of its family, else the default.

        Raises
        ------
        ProgramError
            If there is none.
        """
        key = key_of(name)
        for known in (key, key[:1]):
            if known in self._given:
                return self._given[known]
        if self._default is None:
            raise ProgramError(f'no law is given for the matrix "{text_of(key)}": (sigma_w2, sigma_b2)')
        return self._default._replace(law=self._readout) if key == READOUT else self._default


def laws_of(parameters: Parameters, given: Mapping[Any, Sequence[Any]] | None = None) -> Laws:
    """The laws of a program: those given, and the default (p.sigma_w2, p.sigma_b2, p.weights) for all others."""
    default = Law(float(parameters.sigma_w2), float(parameters.sigma_b2), parameters.get("weights", "gaussian"))
    return Laws(given or {}, default, parameters.get("readout", "gaussian"))


def called(network: Network, w: Any, x: Any, parameters: Parameters) -> Any:
    """The outputs of a program, whether it takes ``(w, x, p)`` or ``(w, x)``."""
    try:
        inspect.signature(network).bind(w, x, parameters)
    except TypeError:
        return network(w, x)
    return network(w, x, parameters)


def _law(name: Any, values: Sequence[Any], law: str, readout: str) -> Law:
    key: Key = key_of(name)
    if isinstance(values, str) or not 2 <= len(tuple(values)) <= 3:
        raise ProgramError(f'the law of the matrix "{text_of(key)}" is (sigma_w2, sigma_b2), got {values!r}')
    sigma_w2, sigma_b2, *kind = values
    for what, value in (("sigma_w2", sigma_w2), ("sigma_b2", sigma_b2)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < math.inf:
            raise ProgramError(f'{what} of the matrix "{text_of(key)}" must be a finite number >= 0, got {value!r}')
    return Law(float(sigma_w2), float(sigma_b2), kind[0] if kind else readout if key == READOUT else law)
