"""Fuzz what reads files that others wrote: ``python -m tools.fuzz SECONDS [TARGET ...]``.

With atheris installed (``pip install atheris``) the mutations of scenarios, plans and the structure of datasets are
guided by coverage; without it, and for the bytes of HDF5 files, they are drawn at random.

A finding is anything but an error of mcnet, an error that cannot be printed, or too much time or memory. It is kept in
``data/runs/fuzz``, and ends the program with code 1; the smallest one becomes a case of ``tests/test_hostile_*.py``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import resource
import signal
import subprocess
import sys
import time
import warnings

from tools.fuzz_targets import GUIDED, ROOT, TARGETS, TOKENS, Target, seeds

FOUND = ROOT / "data" / "runs" / "fuzz"
MEMORY_MB = 4096
PATIENCE_SECONDS = 10.0
_ENDED = "ended by signal"


def judged(target: Target, data: bytes) -> str:
    """What is wrong with what a target does with some bytes; "" if nothing is."""
    from mcnet.errors import McnetError

    began = time.process_time()
    try:
        target(data)
    except McnetError as error:
        lines = str(error).split("\n")
        if not all(line.isprintable() and len(line) < 2000 for line in lines):
            return f"an error that cannot be printed: {str(error)[:300]!r}"
    except Exception as error:  # whatever it is, it is a finding
        return f"{type(error).__name__}: {str(error)[:300]}"
    if time.process_time() - began > PATIENCE_SECONDS:
        return f"{time.process_time() - began:.0f} s"
    return ""


def in_child(target: Target, data: bytes) -> str:
    """As :func:`judged`, in a child that is ended after a while.

    HDF5 loops and crashes on some files; what reads them in earnest is a child too, so this is no finding.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MB << 20, MEMORY_MB << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.alarm(int(PATIENCE_SECONDS))
        os.write(writer, judged(target, data).encode()[:4000])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        told = answer.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return f"{_ENDED} {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else told


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Some bytes, changed in one to sixteen places."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) + 1)
        end = min(at + rng.choice((0, 1, 2, 4, 8, 30)), len(changed))
        source = rng.randrange(len(data))
        changed[at:end] = rng.choice(
            (
                bytes([rng.randrange(256)]),
                rng.choice(TOKENS),
                rng.choice((b"\xff", b"\x00", b"\x7f")) * (end - at),
                (1 << rng.randrange(64)).to_bytes(8, "little"),
                data[source : source + end - at + 1],
                b"",
            )
        )
    return bytes(changed)


def at_random(name: str, seconds: float) -> int:
    """Mutations without guidance; how many findings there were."""
    corpus, target, seed = seeds(name), TARGETS[name], random.SystemRandom().randrange(2**32)
    rng, tried, ended, known, end = random.Random(seed), 0, 0, set[str](), time.monotonic() + seconds
    while time.monotonic() < end:
        data = rng.randbytes(60) if name in ("plan", "dataset") else mutated(rng.choice(corpus), rng)
        tried += 1
        told = judged(target, data) if name in GUIDED else in_child(target, data)
        if told.startswith(_ENDED):
            ended += 1
        elif told and told[:60] not in known:
            known.add(told[:60])
            _keep(name, data, told)
    print(f"{name}: {tried} files, {ended} of them ended the child that read them, {len(known)} findings (seed {seed})")
    return len(known)


def guided(name: str, seconds: float) -> None:
    """Mutations guided by coverage; does not return."""
    import atheris

    with atheris.instrument_imports(include=["mcnet", "tomllib"]):
        import mcnet.dataset.checks
        import mcnet.engine.status
        import mcnet.plan.checks
        import mcnet.scenario  # noqa: F401
    corpus, words, known = FOUND / "corpus" / name, FOUND / f"{name}.dict", set[str]()
    corpus.mkdir(parents=True, exist_ok=True)
    for data in seeds(name):
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    words.write_text("".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in token)}"\n' for token in TOKENS))

    def one(data: bytes) -> None:
        told = judged(TARGETS[name], data)
        if told and told[:60] not in known:
            known.add(told[:60])
            _keep(name, data, told)

    limits = [f"-max_total_time={seconds:.0f}", "-max_len=8000", "-timeout=60", f"-rss_limit_mb={MEMORY_MB}"]
    atheris.Setup([sys.argv[0], *limits, f"-dict={words}", f"-artifact_prefix={FOUND}/{name}-", str(corpus)], one)
    atheris.Fuzz()


def _keep(name: str, data: bytes, told: str) -> None:
    path = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    print(f"{path}: {told}", flush=True)


def main() -> None:
    """Fuzz each target for its share of some seconds, in a process of its own."""
    seconds, names = float(sys.argv[1]), sys.argv[2:] or list(TARGETS)
    FOUND.mkdir(parents=True, exist_ok=True)
    if len(names) > 1:
        before, share = set(FOUND.glob("*-*")), seconds / len(names)
        for name in names:
            print(f"{name}: {share:.0f} s", flush=True)
            subprocess.run([sys.executable, "-m", "tools.fuzz", str(share), name], cwd=ROOT)
        found = set(FOUND.glob("*-*")) - before
        print(f"{len(found)} findings in {FOUND}")
        sys.exit(bool(found))
    warnings.simplefilter("ignore")
    if names[0] in GUIDED and importlib.util.find_spec("atheris"):
        guided(names[0], seconds)
    sys.exit(bool(at_random(names[0], seconds)))


if __name__ == "__main__":
    main()
