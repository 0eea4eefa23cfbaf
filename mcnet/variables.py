"""The description of a measured variable: what travels with its numbers into shards and datasets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Variable:
    """One dataset variable.

    Attributes
    ----------
    name, group : str
        For example ``q`` in ``signal``.
    dims : tuple of str
        Dimensions after ``point`` and ``network`` (or after ``point`` and ``shard`` for one record per shard).
    long_name, symbol, units, definition, normalisation, reference : str
        Stored as attributes; ``units`` is ``"1"`` for pure numbers.
    dtype : str
        NumPy dtype of the stored values.
    per_shard : bool
        True if the leading dimension is one record per shard (histogram counts) instead of one per network.
    """

    name: str
    group: str
    dims: tuple[str, ...]
    long_name: str
    symbol: str
    definition: str
    normalisation: str
    reference: str
    units: str = "1"
    dtype: str = "float64"
    per_shard: bool = False

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of the HDF5 dataset."""
        texts = asdict(self)
        return {key: texts[key] for key in ("long_name", "symbol", "units", "definition", "normalisation", "reference")}


class Measured(NamedTuple):
    """A variable and its values for one batch: float array of shape (N, *dims), N networks (1 if ``per_shard``)."""

    variable: Variable
    values: Any
