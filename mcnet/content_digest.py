"""The content digest: equal for two runs of one plan, whoever drew which networks when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import numpy as np

from mcnet.dataset_schema import Array, Block, Group, Schema, stored


def hashed(schema: Schema) -> Iterator[tuple[Group, Array]]:
    """What the digest covers: all measured variables, and of the root the coordinates (the groups repeat them)."""
    for group in schema.groups:
        if group.name != "quality":
            for array in (*group.variables, *(() if group.name else group.coordinates)):
                yield group, array


class ContentDigest:
    """SHA-256 over the sorted names, types, shapes and bytes of all that was asked and measured.

    The rows of a variable are those of the networks that exist, in the order of the points, trailing axes padded.
    Rows of padding, the group ``quality`` and the attributes are no part of it.
    """

    def __init__(self, schema: Schema) -> None:
        self._arrays = [(group.path(array), group.shape(array), array) for group, array in hashed(schema)]
        self._hashes = {name: hashlib.sha256() for name, _, _ in self._arrays}

    def update(self, name: str, rows: Block) -> None:
        """Add rows of a variable, as a file holds them."""
        little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
        self._hashes[name].update(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)

    def hexdigest(self) -> str:
        """The digest, once all rows of all variables were added."""
        lines = []
        for name, shape, array in self._arrays:
            dtype = array.dtype if array.values is None else stored(array.values).dtype
            lines.append(json.dumps([name, dtype.newbyteorder("<").str, shape, self._hashes[name].hexdigest()]))
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
