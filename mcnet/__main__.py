"""The program ``mcnet``: signals first, then everything else.

Whoever asks for a stop (Ctrl-C, SIGTERM, the SIGUSR1 of a job scheduler) gets exit code 75 from the first moment on,
while libraries are imported too; a run has handlers of its own, which let the batch in hand be finished.
"""

from __future__ import annotations

import os
import signal
import sys

from mcnet.errors import Stopped


def main() -> None:
    """The entry point of the program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.default_int_handler)
    try:
        from mcnet.commands.cli import main as commands

        commands()
    except KeyboardInterrupt:
        os.write(2, b"stopped\n")  # it may have come in the middle of anything
        sys.exit(Stopped.exit_code)


if __name__ == "__main__":
    main()
