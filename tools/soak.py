"""Soak a run: ``python -m tools.soak SECONDS [FOLDER] [--without-faults]``, an hour by default.

It begins with faults that are planted in copies of the tree and must be found (:mod:`tools.soak_faults`), and with
single bits that flip in a dataset and in a plan: none may change what is read without a word.

Again and again three processes work on one directory while they are killed and told to stop, while the disk fills up or
refuses writes, clocks jump, bits flip and pages are lost. Each time a last run must then end with code 0 and hold
exactly what an undisturbed run holds: shard by shard, number by number. Numbers of what was done and of how processes
ended go to ``summary.json`` in the folder; what went wrong is kept there, and ends the program with code 1.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import random
import shutil
import signal
import socket
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcnet import files
from tools import soak_damage, soak_faults, soak_flips
from tools.soak_disk import Disk, enter_namespace

ROOT = Path(__file__).resolve().parents[1]
PARTS = 3
YEARS = 365 * 86400.0
EXPECTED = {0: "finished", 75: "stopped by a signal", 74: "refused by the disk", 65: "damage found", -9: "killed"}
EXPECTED[-15] = "stopped before it began"
_SUBREAPER = 36
WITHOUT_FAULTS = "--without-faults"
CALM_SECONDS = 120.0  # for what is left of a run that nothing disturbs any more


def study(measure: dict[str, Any], widths: list[int], networks: int, batch: int) -> dict[str, Any]:
    """A study of many shards of milliseconds."""
    return {
        "mcnet": 1,
        "network": {"activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_w2": 1.5, "sigma_b2": 0.05},
        "inputs": {"kind": "pair", "q0": 1.0, "c0": 0.6},
        "sweep": {"width": widths},
        "sampling": {"networks": networks, "seed": 5, "batch": batch},
        "measure": measure,
    }


def to_target(fixed: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """A study whose networks follow from a target, in rounds."""
    sampling = {name: value for name, value in fixed["sampling"].items() if name != "networks"}
    return {**fixed, "sampling": {**sampling, "target": target}}


STUDIES = (
    study({"q": {}, "c": {}}, [8, 16], 240, 4),
    study({"q": {}, "c": {}}, [5, 8, 13], 150, 7),
    study({"q": {}, "jacobian": {"keep": "histogram", "moments": 2}}, [6, 10], 160, 4),
    to_target(study({"c": {}}, [8, 16], 1, 4), {"observable": "c", "coefficient": "mean", "relative_error": 0.02}),
)


@dataclass(frozen=True)
class Truth:
    """What an undisturbed run of a study holds."""

    study: dict[str, Any]
    content: str
    shards: dict[str, str]


@dataclass
class Tally:
    """What was done, how processes ended, what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def held(directory: Path) -> tuple[str, dict[str, str]]:
    """Digest of the numbers that the dataset holds, all read again, and of each good shard."""
    from mcnet.dataset.packing import verify_dataset
    from mcnet.storage import shard

    found = {path.name: shard.verify(path)[0].sha256 for path in soak_damage.shards(directory)}
    return verify_dataset(directory / "dataset.h5"), found


def descendants(pid: int) -> list[int]:
    """The processes that a process has begun, and theirs."""
    with contextlib.suppress(OSError):
        children = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return children + [other for child in children for other in descendants(child)]
    return []


class Workers:
    """Processes that work on one directory, each a fork of this one, whose kernels are compiled."""

    def __init__(self, directory: Path, study: dict[str, Any], processes: int, clock: mmap.mmap, tally: Tally) -> None:
        self._directory, self._study, self._processes = directory, study, processes
        self._clock, self._tally = clock, tally
        self._parts: dict[int, int] = {}
        self._waiting = list(range(1, PARTS + 1))

    def start(self) -> None:
        """Begin, or begin again, the parts that are not at work; all of them if all have finished."""
        if not self._parts and not self._waiting:
            self._waiting = list(range(1, PARTS + 1))
        while self._waiting:
            part = self._waiting.pop()
            self._parts[self._fork(f"{part}/{PARTS}", part)] = part

    def reap(self, options: int = os.WNOHANG) -> None:
        """Note who has ended; one that has not finished will be begun again."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, options))[0]:
                part, code = self._parts.pop(ended[0], None), os.waitstatus_to_exitcode(ended[1])
                if part is not None:  # else a child of one that was killed
                    self._tally.ended[EXPECTED.get(code, f"with code {code}")] += 1
                    if code:
                        self._waiting.append(part)

    def kill_all(self) -> None:
        """End all that are at work, and their children."""
        while pids := descendants(os.getpid()):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.reap(0)

    def last(self) -> int:
        """One run alone, to its end; its exit code."""
        pid = self._fork(None, 0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _fork(self, part: str | None, number: int) -> int:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(self._directory.parents[1] / "stderr.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)
            os._exit(self._work(part, number))
        return pid

    def _work(self, part: str | None, number: int) -> int:
        import mcnet
        from mcnet.errors import McnetError

        now, name = time.time, socket.gethostname()
        if part is not None:
            time.time = lambda: now() + struct.unpack("d", self._clock[:8])[0]
            socket.gethostname = lambda: f"{name}{number}" if number > 1 else name
        try:
            mcnet.run(self._study, self._directory, workers=self._processes, part=part, quiet=True)
        except McnetError as error:
            if part is None or error.exit_code not in EXPECTED:
                self._tell(str(error))
            return error.exit_code
        except BaseException:  # whatever it is, it is told
            self._tell(traceback.format_exc())
            return 70
        return 0

    def _tell(self, text: str) -> None:
        with open(self._directory.parents[1] / "errors.txt", "a") as file:
            file.write(text + "\n")


class Soak:
    """Rounds of trouble on one disk."""

    def __init__(self, folder: Path, mounted: bool, seed: int) -> None:
        self._folder, self._disk = folder, Disk(folder / "disk", mounted)
        self._clock = mmap.mmap(-1, 8)
        self._rng, self.tally = random.Random(seed), Tally()
        self._truths: dict[int, Truth] = {}

    def _truth(self) -> Truth:
        """One of the studies, as an undisturbed run has it."""
        number = self._rng.randrange(len(STUDIES))
        if number not in self._truths:
            self._truths[number] = self._undisturbed(STUDIES[number])
        return self._truths[number]

    def _undisturbed(self, study: dict[str, Any]) -> Truth:
        import mcnet

        directory = mcnet.run(study, self._folder / "undisturbed", workers=1, quiet=True)
        truth = Truth(study, *held(directory))
        shutil.rmtree(directory)
        return truth

    def flips(self) -> None:
        """Bits of a finished run flipped, one at a time; a change that nobody told of is wrong."""
        import mcnet

        directory = mcnet.run(STUDIES[2], self._folder / "flipped", workers=1, quiet=True)
        counts = soak_flips.DATASET_FLIPS, soak_flips.PLAN_FLIPS
        told = soak_flips.campaign(directory, self._rng, *counts)
        shutil.rmtree(directory)
        self.tally.done.update({f"single flips, {what}": count for what, count in told.items()})
        self.tally.wrong += [f"{count} {what}" for what, count in told.items() if what.endswith("silent")]

    def round(self) -> None:
        """One directory: trouble for a while, then the end of the run; damage of all there is, and its end again."""
        rng, tally = self._rng, self.tally
        directory, truth = self._disk.folder / "run", self._truth()
        processes = 2 if rng.random() < 0.1 else 1
        workers = Workers(directory, truth.study, processes, self._clock, tally)
        trouble = [what for what, weight in self._troubles(directory, workers) for _ in range(weight)]
        for _ in range(rng.randint(10, 60)):
            workers.start()
            time.sleep(rng.uniform(0.0, 0.06) * (10 if processes > 1 else 1))
            rng.choice(trouble)()
            workers.reap()
            self._remove_bad(directory)
        workers.kill_all()
        self._remove_bad(directory)
        self._disk.calm()
        self._clock[:8] = struct.pack("d", 0.0)
        tally.done["runs"] += 1
        self._compare(directory, workers, truth)
        tally.done["lost-page states"] += soak_damage.lose_pages(directory, rng, 20)
        tally.done["flipped bits"] += soak_damage.flip_bits(directory, rng, len(truth.shards))
        self._compare(directory, workers, truth)
        self._remove_bad(directory)
        shutil.rmtree(directory, ignore_errors=True)

    def _compare(self, directory: Path, workers: Workers, truth: Truth) -> None:
        """The end of a run against an undisturbed one; a directory in which something differs is kept."""
        told = self._difference(directory, workers, truth)
        if told:
            self.tally.wrong.append(told)
            with contextlib.suppress(OSError):
                shutil.copytree(directory, self._folder / f"wrong-{len(self.tally.wrong)}")

    def _difference(self, directory: Path, workers: Workers, truth: Truth) -> str:
        """What differs from an undisturbed run; "" if nothing does."""
        end = time.monotonic() + CALM_SECONDS
        while (code := workers.last()) == 65 and time.monotonic() < end:  # it has set damaged shards aside: go on
            self.tally.ended["damage found"] += 1
        if code:
            return f"the last run ended with code {code}"
        content, shards = held(directory)
        lost, more = truth.shards.keys() - shards.keys(), shards.keys() - truth.shards.keys()
        if lost or more:
            return f"{len(lost)} shards lost, {len(more)} too many"
        if shards != truth.shards or content != truth.content:
            return "other numbers"
        left = [path.name for path in directory.rglob(f".mcnet-{files.owner()}-*.tmp")]
        return f"left behind: {left}" if left else ""

    def _remove_bad(self, directory: Path) -> None:
        for path in (directory / "shards").glob("*.bad"):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                self.tally.done["shards set aside"] += 1

    def _troubles(self, directory: Path, workers: Workers) -> Iterator[tuple[Callable[[], None], int]]:
        rng, done, disk = self._rng, self.tally.done, self._disk

        def send(number: signal.Signals, what: str) -> None:
            pids = descendants(os.getpid())
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(pids), number)
                    done[what] += 1

        def full() -> None:
            if disk.fill(rng.choice((0, 4096, 20_000, 200_000))):
                done["full disks"] += 1
                time.sleep(rng.uniform(0.01, 0.3))
                disk.calm()

        def refuse() -> None:
            if disk.refuse_writes():
                done["read-only moments"] += 1
                time.sleep(rng.uniform(0.01, 0.2))
                disk.calm()

        def jump() -> None:
            self._clock[:8] = struct.pack("d", rng.choice((-30 * YEARS, -3600.0, 0.0, 90_000.0, 30 * YEARS)))
            done["clock jumps"] += soak_damage.change_times(directory, rng)

        def flip() -> None:
            done["flipped bits"] += soak_damage.flip_bits(directory, rng, rng.randint(1, 60))

        def lose() -> None:
            done["lost-page states"] += soak_damage.lose_pages(directory, rng, rng.randint(1, 8))

        yield lambda: send(signal.SIGKILL, "SIGKILL"), 12
        yield lambda: send(signal.SIGTERM, "SIGTERM"), 2
        yield from ((full, 1), (refuse, 1), (jump, 2), (flip, 1), (lose, 2))


def main() -> None:
    """Soak for a time; tell the numbers."""
    mounted = enter_namespace()
    words = [word for word in sys.argv[1:] if word != WITHOUT_FAULTS]
    seconds = float(words[0]) if words else 3600.0
    folder = Path(words[1]) if len(words) > 1 else ROOT / "data" / "runs" / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not mounted:
        print("No disk can be mounted here: full disks and read-only moments are left out.")
    if not sys.platform.startswith("linux"):
        sys.exit("The soak needs Linux: it looks for processes in /proc.")
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)  # children of killed processes become ours
    seed = random.SystemRandom().randrange(2**32)
    soak = Soak(folder, mounted, seed)
    if WITHOUT_FAULTS in sys.argv:
        print("Without planted faults: whether this soak would find any is not known.")
    else:
        soak.tally.wrong += [f"{what}: {why}" for what, why in soak_faults.missed(folder / "faults").items()]
        soak.tally.done["planted faults"] = len(soak_faults.FAULTS)
    soak.flips()
    began, told = time.monotonic(), 0.0
    while (passed := time.monotonic() - began) < seconds:
        soak.round()
        if passed - told > 60:
            told = passed
            print(f"{passed / 60:.0f} min: {dict(soak.tally.done)}, wrong: {len(soak.tally.wrong)}", flush=True)
    summary = {
        "seed": seed,
        "seconds": round(time.monotonic() - began),
        "done": dict(soak.tally.done.most_common()),
        "processes ended": dict(soak.tally.ended.most_common()),
        "wrong": soak.tally.wrong,
    }
    text = json.dumps(summary, indent=1)
    (folder / "summary.json").write_text(text + "\n")
    print(text)
    unexpected = [how for how in soak.tally.ended if how not in EXPECTED.values()]
    sys.exit(bool(soak.tally.wrong or unexpected))


if __name__ == "__main__":
    main()
