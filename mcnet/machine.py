"""What this machine has."""

from __future__ import annotations

import os


def memory() -> int:
    """Bytes of memory of this machine; 0 where the system does not say."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
