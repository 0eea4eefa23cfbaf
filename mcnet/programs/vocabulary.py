"""The vocabulary of programs: the operations of which a network is made, whoever interprets them.

A program is a function ``network(w, x, p)``: ``w`` an interpreter, ``x`` the input, ``p`` the parameters; it returns
its outputs. Every interpretation derives its interpreter from :class:`AbstractInterpreter` and its vectors from
:class:`AbstractVector`: what a user writes is checked here, once and with the same sentences, and handed to the methods
whose names begin with ``_``. One that an interpretation does not have is refused with the operation's name.

Vectors have rows, named by axes: an ordered mapping of names to sizes, such as ``{"input": T, "position": P}``, with
the input slowest. A vector without an axis is constant along it. Rows never depend on the width. Whoever runs a program
calls the input ``("h", 0)`` where the program has not named another vector so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcnet import activations
from mcnet.activations import Activation
from mcnet.programs.axes import Axes as Axes
from mcnet.programs.axes import joint_axes as joint_axes
from mcnet.programs.axes import shifted
from mcnet.programs.names import INPUT, READOUT, Key, Name, ProgramError, key_of, text_of
from mcnet.programs.parameters import Parameters
from mcnet.programs.vectors import AbstractVector as AbstractVector
from mcnet.programs.vectors import Vector

Matrix = NDArray[np.float64]

OPERATIONS = (
    *("ask", "phi", "apply", "mean", "rows", "shift", "patches", "concat", "halves", "batch_norm", "layer_norm"),
    *("attention", "draw", "see"),
)
"""What a program may call of its interpreter."""


class Asked(NamedTuple):
    """A matrix of a program.

    Attributes
    ----------
    order : int
        Its number in the order of first questions, from 1: its layer in the random streams.
    units, columns, fan : number
        Rows and columns of W; entries have variance sigma_w2 / fan.
    """

    order: int
    units: Any
    columns: Any
    fan: Any


class AbstractInterpreter:
    """What a program calls ``w``.

    Attributes
    ----------
    interpretation : str
        Its name in messages.
    parameters : Parameters
    width : number
        Units of an answer where the program does not say otherwise.
    matrices : dict of name to Asked
        Matrices asked so far, in the order of their first questions.
    mixes_inputs : bool
        Whether an operation so far made the vector of one input depend on another.
    """

    interpretation: ClassVar[str]
    parameters: Parameters
    width: Any

    def __init__(self, parameters: Parameters, width: Any) -> None:
        self.parameters, self.width = parameters, width
        self.matrices: dict[Key, Asked] = {}
        self.mixes_inputs = False
        self._drawn: set[Key] = set()
        self._names_seen: set[Key] = set()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            raise AttributeError(name)
        raise ProgramError(f"w.{name} is not an operation; there are {', '.join(OPERATIONS)}")

    # ------------------------------------------------------------ what programs say
    def ask(self, name: Name, v: Vector, units: int | None = None) -> Vector:
        """W v + b of the matrix of this name; asking it again asks the same matrix.

        Parameters
        ----------
        name : str or tuple
            ``"W"`` or ``("W", layer)``.
        v : vector
        units : int
            Default: the width; of ``"readout"`` the number of outputs. Where the point has no outputs the readout is a
            random probe: v itself is returned, and its cotangents begin with the probe.
        """
        key = key_of(name)
        self._own("ask", v)
        if units is not None and (isinstance(units, bool) or not isinstance(units, int) or units < 1):
            raise ProgramError(f'ask("{text_of(key)}"): units must be a whole number of at least 1, got {units!r}')
        if key == READOUT and units is None:
            units = self.parameters.get("outputs")
            if units is None:
                return self._probed(v)
        size = self.width if units is None else units
        known = self.matrices.setdefault(key, Asked(len(self.matrices) + 1, size, v.units, v.fan))
        for what, before, now in (
            ("units", known.units, size),
            ("columns", known.columns, v.units),
            ("fan", known.fan, v.fan),
        ):
            if before != now:
                raise ProgramError(
                    f'the matrix "{text_of(key)}" has {before} {what} when first asked and {now} later; '
                    "use another name for another matrix"
                )
        return self._ask(key, known, v)

    def phi(self, v: Vector) -> Vector:
        """The activation of the point, site by site; of a normalised vector where the point normalises inside."""
        self._own("phi", v)
        return self._apply(activations.get(self.parameters.activation), self._normalized(v))

    def _normalized(self, v: Vector) -> Vector:
        kind = self.parameters.get("normalization", "none")
        epsilon = self.parameters.get("epsilon") or 0.0
        if kind == "hidden-batch":
            return self.batch_norm(v, epsilon)
        return self.layer_norm(v, epsilon) if kind == "hidden-layer" else v

    def apply(self, activation: str | Mapping[str, Any] | Activation, v: Vector) -> Vector:
        """A named activation, site by site: ``w.apply("sigmoid", v)``."""
        self._own("apply", v)
        try:
            found = activations.get(activation)
        except ValueError as error:
            raise ProgramError(f"apply: {error}") from None
        return self._apply(found, v)

    def mean(self, v: Vector, axis: str) -> Vector:
        """The mean over a row axis, which disappears."""
        size = self._axis("mean", v, axis)
        return self._rows(np.full((1, size), 1.0 / size), v, axis, {n: s for n, s in v.axes.items() if n != axis})

    def rows(self, matrix: ArrayLike, v: Vector, axis: str) -> Vector:
        """A linear map (new size, old size) of the rows along an axis."""
        size = self._axis("rows", v, axis)
        a = np.asarray(matrix, np.float64)
        if a.ndim != 2 or a.shape[1] != size or not a.shape[0]:
            raise ProgramError(f'rows: a matrix (new size, {size}) maps the axis "{axis}", got shape {a.shape}')
        if not np.isfinite(a).all():
            raise ProgramError("rows: the matrix has entries that are not finite")
        return self._rows(a, v, axis, {n: a.shape[0] if n == axis else s for n, s in v.axes.items()})

    def shift(self, v: Vector, axis: str, steps: int) -> Vector:
        """A circular shift along an axis: row p of the answer is row p + steps."""
        size = self._axis("shift", v, axis)
        self._whole("shift: steps", steps)
        return self._rows(shifted(size, steps), v, axis, dict(v.axes))

    def patches(
        self, v: Vector, axes: str | Sequence[str], offsets: Sequence[Any], variances: Sequence[float]
    ) -> Vector:
        """The question of a convolution: sqrt(variance) times the shifted vector for each tap, side by side.

        Parameters
        ----------
        v : vector
        axes : str or sequence of str
            The axes of the grid.
        offsets : sequence of int, or of tuples with one int per axis
            One for each tap.
        variances : sequence of float
            Shares of the taps in sigma_w2; the fan stays that of v.
        """
        names = (axes,) if isinstance(axes, str) else tuple(axes)
        for axis in names:
            self._axis("patches", v, axis)
        if INPUT in names:
            raise ProgramError("patches: the inputs are no grid; a window runs over other axes")
        taps = [(offset,) if isinstance(offset, int | np.integer) else tuple(offset) for offset in offsets]
        if not taps or len(taps) != len(variances) or any(len(tap) != len(names) for tap in taps):
            raise ProgramError(
                f"patches: every tap has one offset per axis ({', '.join(names)}) and one variance; "
                f"got {len(taps)} taps and {len(variances)} variances"
            )
        for tap in taps:
            for offset in tap:
                self._whole("patches: an offset", offset)
        shares = [self._number("patches: a variance", share) for share in variances]
        if min(shares) < 0.0:
            raise ProgramError("patches: variances of taps are not negative")
        whole = [tuple(int(offset) for offset in tap) for tap in taps]
        return self._patches(v, names, whole, shares)

    def concat(self, vectors: Sequence[Vector]) -> Vector:
        """Units side by side; the fan is that of all together."""
        if not vectors:
            raise ProgramError("concat: there must be at least one vector")
        for v in vectors:
            self._own("concat", v)
        if any(v.axes != vectors[0].axes for v in vectors):
            raise ProgramError(f"concat: vectors have different rows: {', '.join(str(v.axes) for v in vectors)}")
        return self._concat(list(vectors))

    def halves(self, first: Vector, second: Vector) -> Vector:
        """The first half of the units of one vector and the second half of those of another, an even number.

        With the projection E on the first half of the units it is E first + (1 - E) second.
        """
        self._together("halves", first, second)
        if first.units % 2:
            raise ProgramError(f"halves: {first.units} units have no halves; take an even number")
        return self._halves(first, second)

    def batch_norm(self, v: Vector, epsilon: float = 0.0) -> Vector:
        """Minus the mean over the inputs, divided by the standard deviation, unit by unit."""
        if self._axis("batch_norm", v, INPUT) < 2:
            raise ProgramError("batch_norm: the mean over inputs needs at least 2 inputs")
        return self._batch_norm(v, self._epsilon("batch_norm", epsilon))

    def layer_norm(self, v: Vector, epsilon: float = 0.0) -> Vector:
        """Each row minus its mean over the units, over its standard deviation."""
        self._own("layer_norm", v)
        return self._layer_norm(v, self._epsilon("layer_norm", epsilon))

    def attention(self, query: Vector, key: Vector, value: Vector, axis: str = "token", *, scale: float) -> Vector:
        """Rows of value mixed along an axis by softmax of scale * query.key, a sum over units."""
        for v in (query, key, value):
            self._axis("attention", v, axis)
        if axis == INPUT:
            raise ProgramError("attention: rows of other inputs are not attended to; name another axis")
        if query.axes != key.axes or query.axes != value.axes:
            raise ProgramError(f"attention: rows differ: {query.axes}, {key.axes}, {value.axes}")
        if query.units != key.units:
            raise ProgramError(f"attention: a query of {query.units} units meets a key of {key.units}")
        return self._attention(query, key, value, axis, self._number("attention: scale", scale))

    def draw(self, name: Name, variance: float, axes: Mapping[str, int] | None = None) -> Vector:
        """A fresh Gaussian vector of the width, entries N(0, variance), the same for all inputs."""
        key = key_of(name)
        if key in self._drawn:
            raise ProgramError(f'draw: "{text_of(key)}" is drawn twice; keep the vector, or use another name')
        if self._number("draw: the variance", variance) < 0.0:
            raise ProgramError("draw: the variance is not negative")
        rows = dict(axes or {})
        if INPUT in rows:
            raise ProgramError('draw: a drawn vector is the same for all inputs and has no axis "input"')
        for axis, size in rows.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ProgramError(f'draw: the axis "{axis}" has a size of at least 1, got {size!r}')
        self._drawn.add(key)
        return self._draw(key, float(variance), rows)

    def see(self, name: str, layer: int, v: Vector) -> None:
        """Call a vector u^l, h^l, ... for those who observe."""
        self._own("see", v)
        key = key_of((name, layer))
        if key in self._names_seen:
            raise ProgramError(f'see: "{text_of(key)}" is the name of two vectors')
        self._names_seen.add(key)
        self._see(key, v)

    # ------------------------------------------------------------ what interpretations say
    def _combination(self, terms: list[tuple[float, Any]], constant: float) -> Any:
        """Sum of multiples of vectors, plus a constant at every site; axes of :func:`joint_axes`."""
        return self._refuse("sums and multiples")

    def _product(self, a: Any, b: Any) -> Any:
        """Site by site; axes of :func:`joint_axes`."""
        return self._refuse("the product of two vectors")

    def _ask(self, key: Key, matrix: Asked, v: Any) -> Any:
        return self._refuse("ask")

    def _probed(self, v: Any) -> Any:
        """The outputs where there is no readout: v."""
        return self._refuse('ask("readout", ...) without outputs')

    def _apply(self, activation: Activation, v: Any) -> Any:
        return self._refuse("phi, apply")

    def _rows(self, matrix: Matrix, v: Any, axis: str, axes: Axes) -> Any:
        """Map (new, old) along an axis; ``axes`` are those of the result, the axis missing where it disappears."""
        return self._refuse("mean, rows, shift")

    def _patches(self, v: Any, axes: tuple[str, ...], taps: list[tuple[int, ...]], variances: list[float]) -> Any:
        """``taps``: for each one offset per axis."""
        return self._refuse("patches")

    def _concat(self, vectors: list[Any]) -> Any:
        return self._refuse("concat")

    def _halves(self, first: Any, second: Any) -> Any:
        """Axes of :func:`joint_axes`."""
        return self._refuse("halves")

    def _batch_norm(self, v: Any, epsilon: float) -> Any:
        return self._refuse("batch_norm")

    def _layer_norm(self, v: Any, epsilon: float) -> Any:
        return self._refuse("layer_norm")

    def _attention(self, query: Any, key: Any, value: Any, axis: str, scale: float) -> Any:
        return self._refuse("attention")

    def _draw(self, key: Key, variance: float, axes: Axes) -> Any:
        return self._refuse("draw")

    def _see(self, key: Key, v: Any) -> None:
        self._refuse("see")

    def _refuse(self, operation: str, instead: str = "the sampled interpretation") -> NoReturn:
        raise ProgramError(f"the interpretation {self.interpretation} has no {operation}: use {instead}")

    # ------------------------------------------------------------ checks
    def _own(self, operation: str, v: Any) -> None:
        if not isinstance(v, AbstractVector):
            raise ProgramError(f"{operation}: {type(v).__name__} where a vector of the program belongs")
        if v.interpreter is not self:
            raise ProgramError(f"{operation}: a vector of another run of the program")

    def _together(self, operation: str, a: Any, b: Any) -> None:
        for v in (a, b):
            self._own(operation, v)
        if a.units != b.units:
            raise ProgramError(f"{operation}: vectors of {a.units} and of {b.units} units")
        joint_axes(operation, [a, b])

    def _axis(self, operation: str, v: Any, axis: str) -> int:
        """Size of an axis."""
        self._own(operation, v)
        if axis not in v.axes:
            known = ", ".join(f'"{name}"' for name in v.axes) or "no axis"
            raise ProgramError(f'{operation}: the vector has no axis "{axis}"; it has {known}')
        if axis == INPUT:
            self.mixes_inputs = True
        return int(v.axes[axis])

    def _number(self, what: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise ProgramError(f"{what} is a number or a vector of the program, not {type(value).__name__}")
        if not math.isfinite(value):
            raise ProgramError(f"{what} is not finite")
        return float(value)

    def _whole(self, what: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ProgramError(f"{what} is a whole number, got {value!r}")

    def _epsilon(self, operation: str, epsilon: Any) -> float:
        value = self._number(f"{operation}: epsilon", epsilon)
        if value < 0.0:
            raise ProgramError(f"{operation}: epsilon is not negative")
        return value
