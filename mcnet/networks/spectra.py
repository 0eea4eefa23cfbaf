"""Spectra that need whole matrices, gathered layer by layer on the way forward."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from mcnet.errors import McnetError
from mcnet.networks import block_jacobian, conditional_fisher, extremes, jacobian
from mcnet.point import Point
from mcnet.weights.laws import AbstractMatrix, Array, Ensemble

PARTS = frozenset({"jacobian", "jacobian_top", "block_jacobian", "block_jacobian_top", "fisher"})
"""Needs of observables that are met here."""


class Spectra:
    """Jacobian and conditional Fisher information of the networks of an ensemble.

    Parameters
    ----------
    point : Point
    seed : int
        Seed of the study.
    ensemble : Ensemble
    needs : set of str
        Some of :data:`PARTS`; others are passed over.
    """

    def __init__(self, point: Point, seed: int, ensemble: Ensemble, needs: Set[str]) -> None:
        self._point, self._seed, self._ensemble, self._needs = point, seed, ensemble, needs
        self._product: jacobian.Product | None = None
        self._dual: conditional_fisher.Dual | None = None
        self._operator = extremes.JacobianOperator(point, ensemble.backend)
        self._blocks: list[block_jacobian.Floats] = []
        self._largest: list[block_jacobian.Floats] = []

    def add(self, matrix: AbstractMatrix, h: Array, u: Array) -> None:
        """The next hidden layer: its matrix, the activations below it and its pre-activations, (N, T, units)."""
        point, backend = self._point, self._ensemble.backend
        if "jacobian" in self._needs:
            self._product = jacobian.through_layer(point, self._product, matrix, u, backend)
        elif "jacobian_top" in self._needs:
            self._operator.add(matrix, u)
        if "block_jacobian" in self._needs:
            self._blocks.append(block_jacobian.singular_values(point, matrix, u, backend))
        elif "block_jacobian_top" in self._needs:
            self._largest.append(block_jacobian.largest(point, matrix, int(h.shape[2]), u, self._ensemble)[:, None])
        if "fisher" in self._needs:
            self._dual = conditional_fisher.through_layer(point, self._dual, matrix, h, u, backend)

    def found(self) -> dict[str, Any]:
        """Fields of a sample, by name.

        Raises
        ------
        McnetError
            If the singular values of a network leave the range of a double, or the largest is not found.
        """
        point, ensemble = self._point, self._ensemble
        fields: dict[str, Any] = {}
        if self._product is not None:
            try:
                spectrum = jacobian.spectrum(point, self._seed, self._product, ensemble)
            except OverflowError as error:
                raise McnetError(
                    f"jacobian: {error} at width {point.width}, depth {point.depth}, {point.activation.label}, "
                    f"{point.weights} weights, more than a double holds. Take a smaller depth"
                ) from error
            fields["jacobian"] = spectrum
            if "jacobian_top" in self._needs:
                fields["jacobian_top"] = (spectrum.values[:, 0] * 2.0**spectrum.exponent) ** 2
        elif "jacobian_top" in self._needs:
            fields["jacobian_top"] = extremes.largest(self._operator, point, ensemble)
        if self._blocks:
            fields["block_jacobian"] = block_jacobian.stacked(self._blocks, ensemble.count)
            if "block_jacobian_top" in self._needs:
                fields["block_jacobian_top"] = fields["block_jacobian"][..., 0] ** 2
        elif self._largest:
            fields["block_jacobian_top"] = block_jacobian.stacked(self._largest, ensemble.count)[..., 0]
        if self._dual is not None:
            fields["fisher"] = ensemble.backend.fetch(conditional_fisher.eigenvalues(self._dual, ensemble.backend))
        return fields
