"""A small disk of its own for the soak, in a mount namespace, which may be full or read-only for a moment."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

SIZE = 32 << 20
_INSIDE = "MCNET_SOAK_NAMESPACE"


def enter_namespace() -> bool:
    """Start this program again where it may mount disks; False if the system does not allow that."""
    words = ["unshare", "--user", "--map-root-user", "--mount"]
    if not os.environ.get(_INSIDE):
        try:
            subprocess.run([*words, "mount", "-t", "tmpfs", "none", "/mnt"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return False
        os.environ[_INSIDE] = "1"
        os.execvp(words[0], [*words, sys.executable, "-m", "tools.soak", *sys.argv[1:]])
    return True


class Disk:
    """A folder; with ``mounted`` a disk of :data:`SIZE` bytes in memory."""

    def __init__(self, folder: Path, mounted: bool) -> None:
        self.folder, self._mounted, self._ballast = folder, mounted, folder / "ballast"
        folder.mkdir(parents=True, exist_ok=True)
        if mounted:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(folder)], check=True)

    def fill(self, left: int) -> bool:
        """Leave so many bytes free; False if this is no disk that may be filled."""
        if not self._mounted:
            return False
        with contextlib.suppress(OSError), open(self._ballast, "wb") as file:  # somebody may have been faster
            state = os.statvfs(self.folder)
            os.posix_fallocate(file.fileno(), 0, max(1, state.f_bavail * state.f_frsize - left))
        return True

    def refuse_writes(self) -> bool:
        """Remount read-only; False if that cannot be, because a file is open for writing."""
        return self._mounted and self._remount("ro")

    def calm(self) -> None:
        """Writable, with room."""
        if self._mounted:
            self._remount("rw")
        self._ballast.unlink(missing_ok=True)

    def _remount(self, how: str) -> bool:
        done = subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], capture_output=True)
        return done.returncode == 0
