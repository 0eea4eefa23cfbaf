"""Halves of the units at the sites of a program: sites of either half are nodes of their own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mcnet.theory.program.jets import Jet, Sites
from mcnet.theory.program.normals import Mixed, Split, Together


@dataclass(eq=False)
class Halving:
    """Every point of the normals stands for a site of the first half and for one of the second.

    The second set of nodes of the one group is the two halves then; a vector that does not know of them has one node.
    """

    sites: Sites
    normals: Split | Together

    def joined(self, parts: list[Jet]) -> Jet:
        """The first of two vectors at the first half, the second at the second."""
        return self.sites.summed(self.half(parts[0], 0), self.half(parts[1], 1))

    def half(self, v: Jet, side: int) -> Jet:
        """A vector at one half, zero at the other."""
        return self.sites.multiplied(self.sites.taken(self._sides[side], np.zeros(v.rows, np.intp)), v)

    @cached_property
    def _sides(self) -> tuple[Jet, Jet]:
        """1 at the sites of a half and 0 at others."""
        if isinstance(self.normals, Split):
            raise Mixed  # a site is in its half in every group
        self.sites.groups[0].linear, self.sites.groups[0].halved = np.full(2, 0.5), True
        first = np.array([[[1.0, 0.0]]])
        return self.sites.at(0, first), self.sites.at(0, 1.0 - first)
