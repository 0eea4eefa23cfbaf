"""What is read off sampled networks: Gram matrices, cotangents, tangent kernel, Jacobian, steps of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcnet import streams
from mcnet.kernels.linalg import extend
from mcnet.kernels.vectors import overlaps
from mcnet.programs import dead, rows
from mcnet.programs.counted import Count
from mcnet.programs.growth import stretches
from mcnet.programs.jacobian import Jacobian
from mcnet.programs.moves import Move, joined_moves, move
from mcnet.programs.names import INPUT, Key, Name, ProgramError, found_by_name, key_of
from mcnet.programs.passes import powers, reached, reverse, tangents
from mcnet.programs.questions import AbstractParameterization, Gradient, gradient, kernel_term
from mcnet.programs.rows import plain_lengths
from mcnet.programs.tape import Vector
from mcnet.weights.laws import AbstractMatrix, Ensemble

if TYPE_CHECKING:
    from mcnet.programs.sampled import Sampled

Array = Any

FEW_ROWS = 8
"""Up to so many rows all their products take less time than a copy in float64."""


@dataclass(frozen=True)
class Backward:
    """What a backward pass of all outputs gives.

    Attributes
    ----------
    lengths : mapping of name to Array, (N, T, P), float64
        Squared lengths of the cotangents of the outputs of input t at the rows p of a seen vector (summed over the
        inputs of these rows where the program mixes inputs), mean over the outputs; divided by 4^exponent.
    exponents : mapping of name to Array, (N or 1,)
    kernel : Array or None, (N, Q, Q), float64
        The tangent kernel; output k of input t is row k T + t. Outputs with rows beside the input count as that many
        outputs.
    cotangents : mapping of name to Array, (N, Q, T, P, M), float64
        Those asked for: of output k and input t at all rows of a seen vector, plain.
    """

    lengths: Mapping[Key, Array]
    exponents: Mapping[Key, Array]
    kernel: Array | None
    cotangents: Mapping[Key, Array]


class Trace:
    """Sampled networks with everything that was noted on the way; made by :func:`mcnet.programs.sampled.run`.

    Attributes
    ----------
    ensemble : Ensemble
    count : Count
        The program on shapes.
    """

    def __init__(self, ensemble: Ensemble, count: Count, interpreter: Sampled, output: Vector) -> None:
        self.ensemble, self.count = ensemble, count
        self._w, self._output = interpreter, output
        self._xp, self._backend = ensemble.backend.xp, ensemble.backend

    @property
    def seen(self) -> tuple[Key, ...]:
        """Names of the vectors that the program sees, in their order."""
        return tuple(self._w.seen)

    @property
    def matrices(self) -> Mapping[Key, AbstractMatrix]:
        """The matrices, with all that they have answered."""
        return self._w.drawn_matrices

    def gram(self, name: Name) -> Array:
        """Products of the rows of a seen vector per unit, in the difference basis of the inputs: (N or 1, R, R)."""
        found = found_by_name(self._w.seen, name, "vector")
        if found is None:
            raise ProgramError("this run was made without products of rows: grams=True")
        if found.ndim == 4:
            raise ProgramError("this run was made with products at single sites: per_site=False")
        return found

    def site_grams(self, name: Name) -> Array:
        """Products of the inputs at each row of a seen vector, as :meth:`gram`: (N or 1, P, T, T)."""
        found = found_by_name(self._w.seen, name, "vector")
        if found is not None and found.ndim == 4:
            return found
        axes = found_by_name(self.count.seen, name, "vector").axes
        return dead.at_sites(self._xp, self.gram(name), rows.inputs_of(axes), rows.sites_of(axes))

    def vector(self, name: Name) -> Vector:
        """A seen vector."""
        self._needs_tape("the vectors")
        return found_by_name(self._w.vectors, name, "vector")

    @property
    def outputs(self) -> Array:
        """f, plain, (N, C P, T): outputs times rows beside the input; of a probe its products. float64."""
        xp = self._xp
        value = rows.to_plain(xp, xp.astype(self._output.value, xp.float64))
        if self.count.probed:
            value = xp.expand_dims(xp.vecdot(value, xp.astype(self._probe()[:, None, ...], xp.float64)), axis=-1)
        return self._by_output(value)

    def backward(
        self,
        how: AbstractParameterization | None = None,
        cotangents: Sequence[Name] = (),
        families: Sequence[str] | None = None,
    ) -> Backward:
        """Cotangents of all outputs, back to the first matrices.

        Parameters
        ----------
        how : AbstractParameterization, optional
            Of the tangent kernel; without one none is made.
        cotangents : sequence of names
            Seen vectors whose cotangents are wanted themselves.
        families : sequence of str, optional
            Names, as ``"u"``, of the seen vectors whose lengths are wanted; default: all.

        Notes
        -----
        Asked matrices answer new questions in every pass: what a second pass finds is the same to rounding.
        """
        self._needs_tape("a backward pass")
        xp, mixing = self._xp, self.count.mixes_inputs
        names = {id(v): [key for key, seen in self._w.vectors.items() if seen is v] for v in self._w.vectors.values()}
        wanted = [key for name in cotangents for key in [key_of(name)] if self.vector(name)]
        answers = _Answers(self, how)
        lengths: dict[Key, Array] = {}
        exponents: dict[Key, Array] = {}
        kept: dict[Key, Array] = {}

        def visit(v: Vector, c: Array, exponent: Array) -> None:
            answers.visit(v, c, exponent)
            if id(v) not in names:
                return
            for key in names[id(v)]:
                if families is None or key[0] in families:
                    lengths[key], exponents[key] = self._lengths(c), exponent
                if key in wanted:
                    wide = xp.astype(c, xp.float64)
                    wide = wide if mixing else rows.to_plain(xp, wide)
                    kept[key] = self._by_functional(wide * powers(xp, exponent, wide))

        reverse(self._backend, self._w.tape, (self._output, self._top()), answers.vectors, visit)
        return Backward(lengths, exponents, answers.kernel if how else None, kept)

    def kernel_product(self, v: Array, how: AbstractParameterization) -> Array:
        """Theta v without the kernel: one backward and one tangent pass.

        Parameters
        ----------
        v : Array, shape (N or 1, C P, T)
            As :attr:`outputs`.
        how : AbstractParameterization

        Returns
        -------
        Array, shape (N, C P, T), float64
        """
        gradients, exponent = self._gradients(v, how)
        xp = self._xp

        asked = {id(one.answer): one for one in self._w.asked if one.key in gradients}

        def own(vector: Vector) -> Array | None:
            if id(vector) not in asked:
                return None
            x = asked[id(vector)].question
            flat = xp.reshape(x.value, (x.value.shape[0], -1, x.units))
            moved = gradients[asked[id(vector)].key].apply(flat, self._w.constants(x.axes))
            shaped = xp.reshape(moved, (moved.shape[0], 1, *vector.value.shape[1:]))
            return xp.astype(shaped, vector.value.dtype, copy=False)

        moved = tangents(self._w.tape, {}, self._output, self._inputs, own)
        if moved is None:
            return xp.zeros_like(self.outputs)
        plain = rows.to_plain(xp, xp.astype(moved[:, 0, ...], xp.float64))
        if self.count.probed:
            plain = xp.expand_dims(xp.vecdot(plain, xp.astype(self._probe()[:, None, ...], xp.float64)), axis=-1)
        return self._by_output(plain) * powers(xp, exponent, plain[:, :, 0, :])

    def moves(self, v: Array) -> dict[Key, Move]:
        """What a step of gradient descent changes: W - rate sum_a g_a x_a^T, without an array of the size of W.

        Parameters
        ----------
        v : Array, shape (N or 1, C P, T)
            Derivatives of the loss with respect to :attr:`outputs`.

        Notes
        -----
        Of one functional, in the type of the vectors: cotangents are not divided by powers of two. The run must have
        been made with a plan that mixes inputs.
        """
        self._needs_tape("a step")
        assert self.count.mixes_inputs, "cotangents of one functional live on all rows"
        xp, parts = self._xp, {id(one.answer): one for one in self._w.asked}
        found: dict[Key, list[Move]] = {}

        def visit(vector: Vector, c: Array, _: Array) -> None:
            if id(vector) in parts:
                one = parts[id(vector)]
                found.setdefault(one.key, []).append(move(xp, one, c[:, 0, ...], self._w.constants(vector.axes)))

        answers = [one.answer for one in self._w.asked]
        reverse(self._backend, self._w.tape, (self._output, self._of_functional(v)), answers, visit, scaled=False)
        return {key: joined_moves(self._backend, each) for key, each in found.items()}

    def functional_lengths(self, v: Array, family: str) -> dict[Key, tuple[Array, Array]]:
        """Squared lengths of the cotangents of sum v f at the vectors of a family, summed over all their rows.

        Parameters
        ----------
        v : Array, shape (N or 1, C P, T)
            As :attr:`outputs`.
        family : str
            ``"u"`` for u^1, u^2, ...

        Returns
        -------
        dict of name to (Array, Array), each (N or 1,)
            The lengths divided by 4^exponent, float64, and the exponents.
        """
        self._needs_tape("a backward pass")
        xp, mixing = self._xp, self.count.mixes_inputs
        wanted = {id(vector): key for key, vector in self._w.vectors.items() if key[0] == family}
        found: dict[Key, tuple[Array, Array]] = {}

        def visit(vector: Vector, c: Array, exponent: Array) -> None:
            if id(vector) in wanted:
                wide = xp.astype(c, xp.float64)
                wide = wide if mixing else rows.to_plain(xp, wide)
                found[wanted[id(vector)]] = xp.sum(wide * wide, axis=(1, 2, 3, 4)), exponent

        of_family = [vector for vector in self._w.vectors.values() if id(vector) in wanted]
        reverse(self._backend, self._w.tape, (self._output, self._of_functional(v)), of_family, visit)
        return found

    def jacobian(self, of: Name | None = None, by: Name | None = None) -> Jacobian:
        """Products with the Jacobian of a seen vector with respect to the input or an earlier vector, at input 0.

        Parameters
        ----------
        of : name, optional
            Default: the last h.
        by : name, optional
            Default: the input. What reaches ``of`` without passing this vector is held fixed.
        """
        self._needs_tape("a Jacobian")
        if of is None:
            layers = [key for key in self._w.vectors if key[0] == "h"]
            of = max(layers, key=lambda key: key[1:])
        target, source = self.vector(of), self._w.tape[0] if by is None else self.vector(by)
        inputs = self._inputs if self.count.mixes_inputs else 1
        return Jacobian(self._backend, tuple(self._w.tape), source, target, inputs, self.count.mixes_inputs)

    def stretches(self, directions: int) -> Array:
        """Diagonals of R of the changes of h^1, h^2, ... with input 0, (N, K, layers): :mod:`mcnet.programs.growth`.

        Parameters
        ----------
        directions : int
            K random orthonormal changes of the input.

        Raises
        ------
        ProgramError
            If the program mixes inputs.
        """
        self._needs_tape("the growth of changes")
        if self.count.mixes_inputs:
            raise ProgramError("the changes of one input cannot be followed where the program mixes inputs")
        seen = ((key[1], v) for key, v in self._w.vectors.items() if key[0] == "h" and len(key) == 2)
        stops = {id(v): int(layer) - 1 for layer, v in seen}
        stops = {key: place for key, place in stops.items() if place >= 0}
        source, ensemble = self._w.tape[0], self.ensemble
        size, layer = rows.sites_of(source.axes) * source.units, len(self._w.matrices) + 2
        first = ensemble.normals(streams.PROBES, layer, directions, size, dtype=self._xp.float64, first=(0, 0))
        start = extend(self._xp, self._backend.place(np.empty((1, 0, size))), first).basis
        return stretches(self._backend, self._w.tape, start, stops, max(stops.values()) + 1)

    # ------------------------------------------------------------ parts
    @property
    def _inputs(self) -> int:
        return self._output.axes[INPUT]

    def _needs_tape(self, what: str) -> None:
        if not self._w.settings.backward:
            raise ProgramError(f"{what} of a run that keeps no vectors: backward=True")

    def _by_output(self, value: Array) -> Array:
        """(N, T, P, C) -> (N, C P, T)."""
        xp = self._xp
        turned = xp.permute_dims(value, (0, 3, 2, 1))
        return xp.reshape(turned, (value.shape[0], -1, value.shape[1]))

    def _probe(self) -> Array:
        """The probe at the outputs, (N, 1, M)."""
        units, layer = self._output.units, len(self._w.matrices) + 1
        ensemble = self.ensemble
        normals = ensemble.normals(streams.PROBES, layer, 1, units, dtype=ensemble.dtype, first=(0, 0))
        return normals / units**0.5

    def _top(self) -> Array:
        """Cotangents of all outputs at the output vector."""
        xp, inputs, sites = self._xp, self._inputs, rows.sites_of(self._output.axes)
        probe = self._probe() if self.count.probed else None
        units = self._output.units
        outputs = 1 if probe is not None else units
        eye = np.eye(outputs)
        if self.count.mixes_inputs:
            top = np.einsum("kc,pq,ts->kptsqc", eye, np.eye(sites), np.eye(inputs))
            top = top.reshape(1, -1, inputs, sites, outputs)
        else:
            top = np.einsum("kc,pq,t->kptqc", eye, np.eye(sites), np.eye(1, inputs)[0])
            top = top.reshape(1, -1, inputs, sites, outputs)
        placed = xp.astype(self._backend.place(np.ascontiguousarray(top)), self.ensemble.dtype)
        return placed if probe is None else placed * probe[:, None, None, ...]

    def _of_functional(self, v: Array) -> Array:
        """Cotangent of sum v f at the output vector, (N or 1, 1, T, P, C)."""
        xp, units = self._xp, 1 if self.count.probed else self._output.units
        split = xp.reshape(v, (v.shape[0], units, -1, v.shape[2]))  # (N, C, P, T)
        top = xp.astype(xp.permute_dims(split, (0, 3, 2, 1))[:, None, ...], self.ensemble.dtype)
        if self.count.probed:
            top = top * self._probe()[:, None, None, ...]
        return top if self.count.mixes_inputs else rows.to_difference(xp, top)

    def _lengths(self, c: Array) -> Array:
        """Mean over outputs of the squares of cotangents: (N, K, T, P, M) -> (N, T, P), float64."""
        xp, mixing = self._xp, self.count.mixes_inputs
        networks, functionals, inputs, sites, units = c.shape
        if not mixing and inputs * sites <= FEW_ROWS:
            flat = xp.reshape(c, (networks * functionals, inputs * sites, units))
            squares = plain_lengths(xp, inputs, sites, overlaps(xp, flat, flat))
            squares = xp.reshape(squares, (networks, functionals, inputs, sites))
        else:
            wide = xp.astype(c, xp.float64)
            wide = wide if mixing else rows.to_plain(xp, wide)
            squares = xp.vecdot(wide, wide)
        if mixing:  # functional (k, t) reaches all inputs
            squares = xp.sum(squares, axis=2)
            squares = xp.reshape(squares, (networks, -1, self._inputs, sites))
        return xp.mean(squares, axis=1)

    def _by_functional(self, plain: Array) -> Array:
        """(N, K, T, P, M) -> (N, K T, T, P, M): a cotangent for each functional and all rows."""
        if self.count.mixes_inputs:
            return plain
        xp = self._xp
        networks, functionals, inputs, sites, units = plain.shape
        eye = self._backend.place(np.eye(inputs))
        full = plain[:, :, None, ...] * eye[None, None, :, :, None, None]
        return xp.reshape(full, (networks, functionals * inputs, inputs, sites, units))

    def _gradients(self, v: Array, how: AbstractParameterization) -> tuple[dict[Key, Gradient], Array]:
        """Gradients of sum v f with respect to all matrices, divided by 2^exponent (N,), a common one."""
        self._needs_tape("a gradient")
        xp, output, top = self._xp, self._output, self._of_functional(v)
        answers = _Answers(self, how, gradients=True)
        reverse(self._backend, self._w.tape, (output, top), answers.vectors, answers.visit)
        found = answers.gradients
        exponent = self._backend.place(np.full(1, -np.inf))
        for _, own in found.values():
            exponent = xp.maximum(exponent, own)
        common = {}
        for key, (part, own) in found.items():
            w = part.w * powers(xp, own - exponent, part.w)
            common[key] = Gradient(self._backend, w, part.x, part.alpha, part.beta)
        return common, exponent


class _Answers:
    """Collects the cotangents of all answers, and adds up what each matrix gives once it is complete."""

    def __init__(self, trace: Trace, how: AbstractParameterization | None, gradients: bool = False) -> None:
        self._trace, self._how, self._wants_gradients = trace, how, gradients
        w, output = trace._w, trace._output
        there = reached(output, w.tape)
        self._asked = [question for question in w.asked if id(question.answer) in there]
        self._of = {id(question.answer): question for question in self._asked}
        self._parts: dict[int, tuple[Array, Array]] = {}
        self.kernel: Array = 0.0
        self.gradients: dict[Key, tuple[Gradient, Array]] = {}

    @property
    def vectors(self) -> list[Vector]:
        return [question.answer for question in self._asked]

    def visit(self, v: Vector, c: Array, exponent: Array) -> None:
        if self._how is None or id(v) not in self._of:
            return
        key = self._of[id(v)].key
        self._parts[id(v)] = (c, exponent)
        mine = [question for question in self._asked if question.key == key]
        if not all(id(question.answer) in self._parts for question in mine):
            return
        parts = [self._parts.pop(id(question.answer)) for question in mine]
        backend, mixing = self._trace.ensemble.backend, self._trace.count.mixes_inputs
        if self._wants_gradients:
            self.gradients[key] = gradient(backend, mine, parts, self._how, mixing)
        else:
            self.kernel = self.kernel + kernel_term(backend, mine, parts, self._how, mixing)
