"""The content digest: equal for two runs of one plan, whoever drew which networks when."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ContentDigest:
    """SHA-256 over the sorted names, types, shapes and bytes of all that was asked and measured.

    That is all measured variables, and the coordinates of the root (the groups repeat them). The rows of a variable
    are those of the networks that exist, in the order of the points, trailing axes padded. Rows of padding, the group
    ``quality`` and the attributes are no part of it.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, tuple[str, tuple[int, ...], Any]] = {}

    def begin(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """A variable: its name with the group, type and shape in the file."""
        self._arrays[name] = (dtype.newbyteorder("<").str, shape, hashlib.sha256())

    def update(self, name: str, rows: NDArray[Any]) -> None:
        """Add rows of a variable."""
        little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
        self._arrays[name][2].update(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)

    def hexdigest(self) -> str:
        """The digest, once all rows of all variables were added."""
        lines = [json.dumps([name, *what, rows.hexdigest()]) for name, (*what, rows) in sorted(self._arrays.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
