"""A system that refuses some calls: no locks or no hard links, by a library that is loaded first."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

_SOURCE = """
#include <errno.h>
#include <stdlib.h>
#include <string.h>
static int refused(const char *call) {
    const char *number = getenv(call);
    errno = number ? atoi(number) : ENOSYS;
    return -1;
}
int flock(int file, int how) { return refused("REFUSED_flock"); }
int link(const char *from, const char *to) { return refused("REFUSED_link"); }
int linkat(int a, const char *from, int b, const char *to, int how) { return refused("REFUSED_link"); }
"""


def environment(**errors: int) -> dict[str, str]:
    """Variables for a process in which ``flock`` and ``link`` fail with these errors."""
    digest = hashlib.sha256(_SOURCE.encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"mcnet-refusing-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{digest}.so"
    if not library.exists():
        made = library.with_suffix(f".{os.getpid()}")
        words = ["cc", "-shared", "-fPIC", "-x", "c", "-o", str(made), "-"]
        subprocess.run(words, input=_SOURCE, text=True, check=True)
        made.replace(library)
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        **{f"REFUSED_{call}": str(number) for call, number in errors.items()},
    }
