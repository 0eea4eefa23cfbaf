"""The random streams: (seed, point, network, role, layer) -> numbers. The specification in plain NumPy."""

from __future__ import annotations

STREAM_VERSION = 1
