"""The names that members of a scenario may have: those of folders on every system."""

from __future__ import annotations

import re
from typing import Any

LONGEST = 40
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST - 1}}}")


def is_name(value: Any) -> bool:
    """Whether a member may be called so."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None
