"""Short drills of what a soak does by chance: ``python -m tools.soak_drills FOLDER``; a line for each trouble.

Each drill makes one kind of trouble on purpose and compares what becomes of it with an undisturbed run. Code 1
if there was any trouble.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

STUDY: dict[str, Any] = {
    "mcnet": 1,
    "network": {"activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_w2": 1.5, "sigma_b2": 0.05},
    "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.6},
    "sweep": {"width": [8, 16]},
    "sampling": {"networks": 48, "seed": 5, "batch": 8, "sampler": "explicit"},
    "measure": {"q": {}, "c": {}},
}
TARGET: dict[str, Any] = {
    **STUDY,
    "sampling": {
        "seed": 5,
        "sampler": "explicit",
        "target": {"observable": "c", "coefficient": "mean", "relative_error": 0.02, "layer": 3},
    },
}
PATIENCE = 120.0


def study(networks: int = 48) -> dict[str, Any]:
    """The study of the drills."""
    return {**STUDY, "sampling": {**STUDY["sampling"], "networks": networks}}


def shards(run: Path) -> dict[str, bytes]:
    """The payloads of the shards of a run by name: what is drawn, not who drew it."""
    from mcnet.storage import shard

    found = {}
    for path in sorted((run / "shards").glob("*.h5")):
        header = shard.read_header(path)
        found[path.name] = path.read_bytes()[shard.USER_BLOCK : shard.USER_BLOCK + header.nbytes]
    return found


def content(run: Path) -> str:
    """Digest of the numbers in the dataset of a run, all read again."""
    from mcnet.dataset.packing import verify_dataset

    return verify_dataset(run / "dataset.h5")


def run(scenario: dict[str, Any], place: Path, **options: Any) -> Path:
    """A run in this process."""
    import mcnet

    return mcnet.run(scenario, place, **{"workers": 1, "quiet": True, **options})


def differs(place: Path, truth: Path) -> str:
    """How a run differs from an undisturbed one, "" if it does not."""
    ours, theirs = shards(place), shards(truth)
    if ours.keys() != theirs.keys():
        return f"{len(theirs.keys() - ours.keys())} shards are lost, {len(ours.keys() - theirs.keys())} too many"
    return "" if ours == theirs and content(place) == content(truth) else "other numbers"


def power(folder: Path) -> str:
    """A power cut at any moment."""
    from tools import soak_power

    place = folder / "power"
    return soak_power.trouble(lambda: run(study(16), place), place / "shards", folder / "states")


def bits_of_numbers(folder: Path) -> str:
    """A bit flips in the numbers of a shard."""
    truth, place = run(study(), folder / "truth"), run(study(), folder / "bits")
    path = min((place / "shards").glob("*.h5"))
    from mcnet.storage import shard

    with shard.open_shard(path) as file:
        number = np.asarray(file["signal/q"][()])[0, 0, -1]
    raw = bytearray(path.read_bytes())
    raw[raw.index(np.float64(number).tobytes())] ^= 1
    path.write_bytes(raw)
    (place / "dataset.h5").unlink()
    run(study(), place)
    return differs(place, truth)


def bits_of_headers(folder: Path) -> str:
    """A bit flips in the header of a shard: it says another plan, and is damaged all the same."""
    place = run(study(), folder / "headers")
    before, path = content(place), min((place / "shards").glob("*.h5"))
    raw = bytearray(path.read_bytes())
    at = raw.index(b'"plan": "') + len(b'"plan": "')
    raw[at] = ord("0") if raw[at] != ord("0") else ord("1")
    path.write_bytes(raw)
    run(study(), place)
    return "" if content(place) == before else "other numbers"


def growth(folder: Path) -> str:
    """A run grows: its dataset is that of the grown run."""
    truth, place = run(study(48), folder / "grown truth"), run(study(24), folder / "grown")
    run(study(48), place)
    return differs(place, truth) if content(place) == content(truth) else "the dataset is that of before"


def dead_worker(folder: Path) -> str:
    """A worker is killed with a task in hand."""
    from mcnet.engine import local

    class Mortal(local.Child):
        """The first one is killed as soon as it has a task."""

        killed = False

        def send(self, what: str, task: Any = None) -> None:
            super().send(what, task)
            if what == "make" and not Mortal.killed:
                Mortal.killed = True
                os.kill(self.pid, signal.SIGKILL)

    truth, child = run(study(), folder / "undisturbed"), local.Child
    local.Child = Mortal  # type: ignore[misc]
    try:
        place = run(study(), folder / "dead worker", workers=2)
    finally:
        local.Child = child  # type: ignore[misc]
    return differs(place, truth)


def living_files(folder: Path) -> str:
    """Somebody looks for remains while this process writes a file."""
    from mcnet import files

    place = folder / "living"
    place.mkdir()
    descriptor, path = files.create(place)
    code = "import sys; from pathlib import Path; from mcnet import files; files.remove_stale(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(place)], check=True)
    os.close(descriptor)
    return "" if path.exists() else "the file that a living process writes was removed"


def signals(folder: Path) -> str:
    """SIGTERM ends a run after the batch in hand, with code 75."""
    place = folder / "signals"
    code = "import json, sys; from tools.soak_drills import told; told(json.loads(sys.argv[1]), sys.argv[2])"
    many = json.dumps({**study(4000), "sweep": {"width": [64, 128]}})
    process = subprocess.Popen([sys.executable, "-c", code, many, str(place)], stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    while len(list((place / "shards").glob("*.h5"))) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.terminate()
    try:
        ended = process.wait(timeout=PATIENCE / 4)
    except subprocess.TimeoutExpired:
        process.kill()
        return "a run goes on after SIGTERM"
    return "" if ended == 75 and not (place / "dataset.h5").exists() else f"SIGTERM ended a run with code {ended}"


def told(scenario: dict[str, Any], place: str) -> None:
    """A run that ends with the code of its error."""
    from mcnet.errors import McnetError

    try:
        run(scenario, Path(place))
    except McnetError as error:
        sys.exit(error.exit_code)


def rounds(folder: Path) -> str:
    """A run to a target loses the shards of its last round."""
    truth, place = run(TARGET, folder / "target truth"), run(TARGET, folder / "target")
    for path in sorted((place / "shards").glob("*.h5"))[-2:]:
        path.unlink()
    (place / "dataset.h5").unlink()
    run(TARGET, place)
    same = [path.read_bytes() for path in sorted((truth / "rounds").iterdir())]
    if same != [path.read_bytes() for path in sorted((place / "rounds").iterdir())]:
        return "other rounds"
    return differs(place, truth)


def dask(folder: Path) -> str:
    """A worker of a Dask cluster of this machine is killed while it works."""
    import threading

    from tools.soak import descendants

    truth, place = run(study(), folder / "without dask"), folder / "dask"
    done = threading.Event()

    def kill_one() -> None:
        while not done.wait(0.01):
            if any((place / "shards").glob("*.h5")):
                workers = [pid for pid in descendants(os.getpid()) if _is_worker(pid)]
                if workers:
                    os.kill(workers[0], signal.SIGKILL)
                    return

    killer = threading.Thread(target=kill_one)
    killer.start()
    try:
        run(study(), place, executor="dask", workers=2)
    finally:
        done.set()
        killer.join()
    return differs(place, truth)


def _is_worker(pid: int) -> bool:
    """Whether a process is one that multiprocessing began to work, not the one that tracks its resources."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


DRILLS: dict[str, Callable[[Path], str]] = {
    one.__name__: one
    for one in (*(power, bits_of_numbers, bits_of_headers, growth, dead_worker, living_files, signals, rounds, dask),)
}


def drilled(name: str, folder: Path) -> str:
    """What a drill found, an error that ends it included."""
    try:
        return DRILLS[name](folder)
    except Exception as error:  # whatever it is, it is told
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """Drill: ``FOLDER [NAME ...]``."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    troubles = {name: drilled(name, folder) for name in sys.argv[2:] or DRILLS}
    for name, what in troubles.items():
        if what:
            print(f"{name}: {' '.join(what.split())}", flush=True)
    sys.exit(any(troubles.values()))


if __name__ == "__main__":
    main()
