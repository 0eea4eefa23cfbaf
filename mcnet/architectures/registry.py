"""The table of architectures."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mcnet.architectures.keys import EPSILON, Key, complaints, epsilon, key_of
from mcnet.coordinates import LAWS, NORMALIZATIONS, REQUIRED, Coordinate
from mcnet.programs import verifying
from mcnet.programs.axes import Axes
from mcnet.programs.counted import Count, count
from mcnet.programs.names import INPUT, ProgramError
from mcnet.programs.parameters import Laws, Network, Parameters, laws_of

Given = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Architecture:
    """An architecture.

    Attributes
    ----------
    name : str
        As a scenario says it.
    network : callable
        Its program.
    keys : mapping of str to Key
        Its keys in ``[network]``.
    laws : callable
        Parameters -> laws of those matrices that are not (sigma_w2, sigma_b2): name to (sigma_w2, sigma_b2) or
        (sigma_w2, sigma_b2, law).
    axes : callable
        Parameters -> names and sizes of the row axes after the input.
    check : callable
        Parameters -> sentences about values that do not go together; empty if they do.
    weights : tuple of str
        Laws that its matrices may have.
    normalizations : tuple of str
        What its program itself does with the parameter; empty: it leaves it to the interpretations.
    """

    name: str
    network: Network
    keys: Mapping[str, Key]
    laws: Callable[[Parameters], Given]
    axes: Callable[[Parameters], Axes]
    check: Callable[[Parameters], Sequence[str]]
    weights: tuple[str, ...]
    normalizations: tuple[str, ...] = ()

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """Its keys as coordinates of points."""
        return tuple(key.coordinate(name) for name, key in self.keys.items())

    def complaints(self, given: Given) -> list[tuple[str, str]]:
        """What is wrong with the values of its keys: pairs of key and sentence."""
        return complaints(self.keys, given)

    def parameters(self, common: Given, given: Given) -> Parameters:
        """What the program reads.

        Parameters
        ----------
        common : mapping
            Values that every architecture has: ``width``, ``depth``, ``outputs``, ``activation``, ``sigma_w2``,
            ``sigma_b2``, ``weights``, ``readout``.
        given : mapping
            Values of its keys; others take their defaults.

        Raises
        ------
        ProgramError
            If a value is wrong, or values do not go together.
        """
        wrong = [sentence for _, sentence in self.complaints(given)]
        if wrong:
            raise ProgramError(f'architecture "{self.name}": {"; ".join(wrong)}')
        parameters = self.resolved(common, given)
        wrong = list(self.check(parameters))
        if wrong:
            raise ProgramError(f'architecture "{self.name}": {"; ".join(wrong)}')
        return parameters

    def resolved(self, common: Given, given: Given) -> Parameters:
        """The same for values that are right one by one; :attr:`check` says whether they go together."""
        values = {name: given.get(name, key.default) for name, key in self.keys.items()}
        plain = Parameters({**common, **values})
        resolved = {
            name: key.resolve(values[name], plain) for name, key in self.keys.items() if key.resolve is not None
        }
        return plain.replaced(**resolved)

    def laws_of(self, parameters: Parameters) -> Laws:
        """The laws of all matrices."""
        return laws_of(parameters, self.laws(parameters))

    def axes_of(self, parameters: Parameters, inputs: int) -> Axes:
        """Row axes of the input."""
        return {INPUT: inputs, **self.axes(parameters)}

    def count(self, parameters: Parameters, inputs: int, dimension: int) -> Count:
        """The program on shapes: its matrices and what they are asked, memory and time.

        Raises
        ------
        ProgramError
            If the program does not run at these sizes.
        """
        laws, axes = self.laws_of(parameters), self.axes_of(parameters, inputs)
        return count(self.network, parameters, laws, axes, dimension)


_TABLE: dict[str, Architecture] = {}


def register(
    name: str,
    network: Network,
    *,
    keys: Given | None = None,
    laws: Given | Callable[[Parameters], Given] | None = None,
    axes: Given | Callable[[Parameters], Axes] | None = None,
    check: Callable[[Parameters], Sequence[str]] | None = None,
    weights: tuple[str, ...] = LAWS,
    normalizations: tuple[str, ...] = (),
    example: Given | None = None,
) -> None:
    """Add an architecture to the table.

    Parameters
    ----------
    name : str
        Lower case, words joined by ``-``; what scenarios will say.
    network : callable
        ``network(w, x, p)``, made of the operations of :class:`mcnet.programs.vocabulary.AbstractInterpreter`.
    keys : mapping of str to value or Key
        Its keys in ``[network]``: a default value, or a :class:`Key`; the program reads them as ``p.name``.
    laws : mapping, or callable of the parameters
        Matrices whose law is not (sigma_w2, sigma_b2): name to (sigma_w2, sigma_b2) or (sigma_w2, sigma_b2, law); in a
        mapping a text is the name of a key.
    axes : mapping, or callable of the parameters
        Row axes of the input after the axis of inputs: name to size; in a mapping a text is the name of a key.
    check : callable
        Parameters -> sentences about values that do not go together.
    weights : tuple of str
        Laws that ``weights`` in a scenario may be.
    normalizations : tuple of str
        Values of ``normalization`` that the program itself reads, as ``p.get("normalization", "none")``, ``"none"``
        among them; without them ``w.phi`` normalises where a scenario says so.
    example : mapping
        Values of keys that have no default, for the trial at registration.

    Raises
    ------
    ProgramError
        If the name is taken or not a name, or the program fails on small networks: unknown operations and axes, wrong
        shapes, rows that depend on the width, outputs or gradients that are not finite.

    Notes
    -----
    The program is run on shapes and on two small sampled networks. A name can be registered again by the same file or
    notebook.
    """
    made = _made(name, network, keys, laws, axes, check, weights, normalizations)
    _try(made, example or {})
    _TABLE[name] = made


def add(
    name: str,
    network: Network,
    *,
    keys: Given | None = None,
    laws: Given | Callable[[Parameters], Given] | None = None,
    axes: Given | Callable[[Parameters], Axes] | None = None,
    check: Callable[[Parameters], Sequence[str]] | None = None,
    weights: tuple[str, ...] = LAWS,
    normalizations: tuple[str, ...] = (),
) -> None:
    """Add one that comes with mcnet: as :func:`register`, without the trial, which the tests make."""
    _TABLE[name] = _made(name, network, keys, laws, axes, check, weights, normalizations)


def lookup(name: str) -> Architecture:
    """The architecture of this name.

    Raises
    ------
    ProgramError
        If there is none.
    """
    if name in _TABLE:
        return _TABLE[name]
    close = difflib.get_close_matches(name, _TABLE, 1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    raise ProgramError(f'architecture "{name}" is not known ({", ".join(_TABLE)}){hint}')


def names() -> tuple[str, ...]:
    """Names of all architectures, registered ones included."""
    return tuple(_TABLE)


def _made(
    name: str,
    network: Network,
    keys: Given | None,
    laws: Given | Callable[[Parameters], Given] | None,
    axes: Given | Callable[[Parameters], Axes] | None,
    check: Callable[[Parameters], Sequence[str]] | None,
    weights: tuple[str, ...],
    normalizations: tuple[str, ...],
) -> Architecture:
    if not isinstance(name, str) or not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ProgramError(f'architecture name "{name}": use lower-case letters, digits and "-"')
    if not callable(network):
        raise ProgramError(f'architecture "{name}": network must be a function of (w, x, p)')
    before = _TABLE.get(name)
    if before is not None and before.network.__module__ != getattr(network, "__module__", None):
        raise ProgramError(f'architecture "{name}" exists already')
    try:
        described = {key: key_of(key, given) for key, given in (keys or {}).items()}
    except ProgramError as error:
        raise ProgramError(f'architecture "{name}": {error}') from None
    described.setdefault(EPSILON, epsilon())
    if normalizations and not {"none"} <= {*normalizations} <= {*NORMALIZATIONS}:
        listed = ", ".join(f'"{kind}"' for kind in NORMALIZATIONS)
        raise ProgramError(f'architecture "{name}": normalizations are "none" and some of {listed}')
    rules = check or (lambda p: ())
    return Architecture(name, network, described, _looked_up(laws), _looked_up(axes), rules, weights, normalizations)


def _looked_up(given: Given | Callable[[Parameters], Any] | None) -> Callable[[Parameters], Any]:
    """A function of the parameters from a mapping in which texts are names of keys."""
    if callable(given):
        return given
    table = dict(given or {})

    def value(entry: Any, p: Parameters) -> Any:
        if isinstance(entry, tuple | list):
            # the third entry of a law is its name, a text as well
            return tuple(value(part, p) if place < 2 else part for place, part in enumerate(entry))
        return getattr(p, entry) if isinstance(entry, str) else entry

    return lambda p: {name: value(entry, p) for name, entry in table.items()}


def _try(architecture: Architecture, example: Given) -> None:
    """Refuse a program that fails on small networks."""
    missing = [key for key, one in architecture.keys.items() if one.default is REQUIRED and key not in example]
    if missing:
        raise ProgramError(
            f'architecture "{architecture.name}": give an example value of {", ".join(missing)}, which has no default'
        )

    for kind in architecture.normalizations or ("none",):

        def instance(width: int, outputs: int | None, kind: str = kind) -> tuple[Parameters, Laws, Axes]:
            common = {**verifying.COMMON, "width": width, "outputs": outputs, "normalization": kind}
            p = architecture.parameters(common, example)
            return p, architecture.laws_of(p), architecture.axes_of(p, verifying.INPUTS)

        verifying.verify(f'architecture "{architecture.name}"', architecture.network, instance)
