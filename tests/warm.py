"""A process with all kernels compiled that forks runs to be killed: ``run DIR`` and ``wait`` on stdin."""

from __future__ import annotations

import os
import sys

from studies import study

import mcnet

MANY = study(networks=240, batch=4)  # 120 shards of milliseconds


def main() -> None:
    """Serve until stdin ends."""
    mcnet.sample(study(networks=4))
    pid = 0
    for line in sys.stdin:
        what, _, directory = line.strip().partition(" ")
        if what == "run":
            pid = os.fork()
            if pid == 0:
                mcnet.run(MANY, directory, workers=1, quiet=True)
                os._exit(0)
        else:
            os.waitpid(pid, 0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
