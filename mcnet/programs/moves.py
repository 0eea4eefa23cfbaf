"""What a step of gradient descent changes in a matrix: a sum of few products of cotangents and questions.

Questions stay in the difference basis: with x_t = x_0 + y_t,

    sum_t g_t x_t^T = (sum_t g_t) x_0^T + sum_(t > 0) g_t y_t^T ,

so only the first cotangent is replaced. The multiple of the bias in a row is that of an answer in this basis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mcnet.backend import Backend
from mcnet.programs.names import INPUT
from mcnet.programs.questions import Question

Array = Any


class Move(NamedTuple):
    """What is subtracted from W, per unit of the learning rate: sum_a g_a x_a^T; from b: sum_a constant_a g_a.

    Attributes
    ----------
    cotangents : tuple of Array, shape (N, T, P, m)
        Of the answers to each question, plain.
    x : Array, shape (N or 1, r, n)
        Questions.
    constants : Array, shape (r,), float64
    asked : tuple of Question
        Those of the matrix.
    """

    cotangents: tuple[Array, ...]
    x: Array
    constants: Array
    asked: tuple[Question, ...]

    def times(self, xp: Any, factor: Array) -> Array:
        """g times a factor for each network (N,): (N, r, m)."""
        found = []
        for c, one in zip(self.cotangents, self.asked, strict=True):
            g = c * factor[:, None, None, None]
            if INPUT in one.answer.axes and g.shape[1] > 1:
                g[:, 0, :, :] = xp.sum(g, axis=1)
            found.append(xp.reshape(g, (g.shape[0], -1, g.shape[3])))
        return found[0] if len(found) == 1 else xp.concat(found, axis=1)


def move(xp: Any, asked: Question, c: Array, constants: Array) -> Move:
    """Of one question: cotangents (N, T, P, m) of its answer, plain."""
    x = asked.question.value
    return Move((c,), xp.reshape(x, (x.shape[0], -1, x.shape[3])), constants, (asked,))


def joined_moves(backend: Backend, parts: Sequence[Move]) -> Move:
    """Of all questions of one matrix."""
    if len(parts) == 1:
        return parts[0]
    xp = backend.xp
    lead = max(part.x.shape[0] for part in parts)
    x = xp.concat([xp.broadcast_to(part.x, (lead, *part.x.shape[1:])) for part in parts], axis=1)
    cotangents = tuple(c for part in parts for c in part.cotangents)
    constants = xp.concat([part.constants for part in parts])
    return Move(cotangents, x, constants, tuple(q for part in parts for q in part.asked))
