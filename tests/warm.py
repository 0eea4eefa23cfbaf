"""A process with all kernels compiled that forks runs to be killed.

Lines on stdin: ``run DIR`` forks a run; ``die DIR N`` one of :data:`ADAPTIVE` that kills itself before its N-th
publication of a file; ``wait`` waits for it. Each is answered by the process id, or how the process ended.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from studies import study

import mcnet

MANY = study(networks=240, batch=4)  # 120 shards of milliseconds

ADAPTIVE: dict[str, Any] = {
    "mcnet": 1,
    "title": "to an error",
    "network": {"activation": "tanh", "weights": "gaussian", "depth": 2, "sigma_w2": 1.0, "sigma_b2": 0.0},
    "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.9},
    "sweep": {"width": [16, 32, 64]},
    "sampling": {
        "seed": 5,
        "target": {"observable": "c", "coefficient": "1/M", "relative_error": 0.2, "limit": "theory", "layer": 2},
    },
    "measure": {"c": {}},
}


def die_before(number: int) -> None:
    """Let this process kill itself before it publishes a file for the ``number``-th time."""
    count = [0]

    def deadly(publish: Callable[..., None]) -> Callable[..., None]:
        def wrapped(*arguments: Any, **options: Any) -> None:
            count[0] += 1
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            publish(*arguments, **options)

        return wrapped

    os.rename, os.link = deadly(os.rename), deadly(os.link)


def main() -> None:
    """Serve until stdin ends."""
    mcnet.sample(study(networks=4))
    pid = 0
    for line in sys.stdin:
        what, *words = line.split()
        answer = 0
        if what in ("run", "die"):
            answer = pid = os.fork()
            if pid == 0:
                if what == "die":
                    die_before(int(words[1]))
                mcnet.run(MANY if what == "run" else ADAPTIVE, words[0], workers=1, quiet=True)
                os._exit(0)
        else:
            _, answer = os.waitpid(pid, 0)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
