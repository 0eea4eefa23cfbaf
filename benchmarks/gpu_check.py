"""Check a GPU and time it: ``make gpu-check``, or ``python -m benchmarks.gpu_check`` in a checkout.

    python -m benchmarks.gpu_check [--device cuda:0] [--out docs/benchmarks] [--minutes 8]
    python -m benchmarks.gpu_check --dry-run      everything on the CPU, small: the check itself is checked
    python -m benchmarks.gpu_check --blank        the table of a machine that was not measured

First correctness: streams, every kernel, every observable, network by network against the CPU. Then times, each beside
a floor measured on the same card. ``gpu.json`` and ``gpu.md`` are written to the folder. The exit code is 1 if anything
disagrees and 69 if there is no device. Nothing has to be installed but NumPy, SciPy, Numba and CuPy.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))  # one core against one card

import numpy as np

from benchmarks import gpu_agreement, gpu_timings
from mcnet import provenance
from mcnet.backend import Backend, get_backend
from mcnet.errors import DeviceError

ROOT = Path(__file__).resolve().parents[1]
NOT_MEASURED = "not yet measured"


def main(arguments: list[str]) -> int:
    """Run the check; the exit code."""
    parser = argparse.ArgumentParser(prog="gpu_check", description="Check a GPU against the CPU, then time it.")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    parser.add_argument("--minutes", type=float, default=7.5, help="steps not begun by then are skipped, and said so")
    parser.add_argument("--dry-run", action="store_true", help="small, on the CPU, through the host build; no files")
    parser.add_argument("--blank", action="store_true", help="write the table of a machine that was not measured")
    given = parser.parse_args(arguments)
    if given.blank:
        (given.out / "gpu.md").write_text(markdown(blank()), encoding="utf-8")
        return 0
    try:
        device = host_device() if given.dry_run else get_backend(given.device)
    except DeviceError as error:
        print(f"nothing was checked: {error}", file=sys.stderr)
        return error.exit_code
    report = check(device, get_backend("cpu"), given.dry_run, given.minutes)
    if not given.dry_run:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (given.out / "gpu.md").write_text(markdown(report), encoding="utf-8")
    failed = [step["name"] for step in report["steps"] if step["status"] == "failed"]
    print(f"{len(failed)} of {len(report['steps'])} steps failed" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def check(device: Backend, cpu: Backend, quick: bool, minutes: float) -> dict[str, Any]:
    """All steps and times, as plain values."""
    began = time.monotonic()
    report: dict[str, Any] = {
        "format": "mcnet-gpu-check-1",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": provenance.software(),
        "device": device.describe(),
        "cpu": cpu.describe(),
        "steps": [],
        "rates": {},
        "timings": [],
    }

    def step(name: str, action: Any) -> Any:
        if time.monotonic() - began > 60 * minutes:
            status, note, result, seconds = "skipped", f"{minutes:g} minutes are over", None, 0.0
        else:
            start = time.monotonic()
            try:
                result = action()
                status, note = "passed", result if isinstance(result, str) else ""
            except gpu_agreement.Skipped as reason:
                status, note, result = "skipped", str(reason), None
            except Exception as error:  # a check that breaks has failed, and the others still count
                status, note, result = "failed", f"{type(error).__name__}: {error}", None
            seconds = time.monotonic() - start
        report["steps"].append({"name": name, "status": status, "note": note, "seconds": round(seconds, 2)})
        print(f"{status:8} {name} ({seconds:.1f} s){': ' + note if note else ''}", flush=True)
        return result

    for name, action in gpu_agreement.steps(quick):
        step(name, lambda action=action: action(device, cpu))
    report["rates"] = step("rates of this device", lambda: gpu_timings.rates(device, quick)) or {}
    for work in gpu_timings.workloads(quick) if report["rates"] else ():
        row = step(f"time: {work.name}", lambda work=work: gpu_timings.timed(work, device, cpu, report["rates"], quick))
        if row:
            report["timings"].append(row)
    return report


def host_device() -> Backend:
    """The code of the GPU with NumPy arrays, kernels built for the host.

    Raises
    ------
    DeviceError
        If there is no compiler.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from cuda_host.build import compiler, kernels

    from mcnet.kernels.cuda import device as cupy_device
    from mcnet.kernels.cuda import kernels as gpu

    if compiler() is None:
        raise DeviceError("the dry run builds the kernels for the host with g++, which is missing")
    xp = cupy_device.Namespace(np, None)
    facts = {"device": "host build of the kernels"}
    return Backend(
        "cuda:0",
        facts["device"],
        xp,
        kernels(),
        np.asarray,
        np.asarray,
        facts,
        register_vectors=gpu.MOST_VECTORS,
        tangent_inputs=gpu.TANGENT_INPUTS,
        fused_activation=True,
    )


def blank() -> dict[str, Any]:
    """A report without numbers."""
    rows = [
        {"workload": work.name, "floor": work.floor_name, "goal": work.goal} for work in gpu_timings.workloads(False)
    ]
    return {"date": NOT_MEASURED, "device": {}, "steps": [], "rates": {}, "timings": rows}


def markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    measured = report["date"] != NOT_MEASURED
    lines = ["# GPU kernels beside their floor", ""]
    lines += ["`make gpu-check` checks a device against the CPU, times it and writes this page.", ""]
    if measured:
        facts = ", ".join(f"{key} {value}" for key, value in report["device"].items())
        lines += [f"{report['date']}: {facts}.", ""]
        lines += ["| what this card reaches | |", "|---|---|"]
        lines += [f"| {name} | {rate:.3g} |" for name, rate in report["rates"].items()] + [""]
    else:
        lines += ["No device has been measured yet: the kernels have run on the host build alone.", ""]
    lines += ["| workload | ms | floor ms | bound by | share of the floor | goal | CPU core / GPU |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in report["timings"]:
        goal = f"{row['goal']:.0%}" if row["goal"] else ""
        if not measured:
            lines.append(f"| {row['workload']} | {NOT_MEASURED} | | {row['floor']} | | {goal} | |")
            continue
        ratio = f"{row['cpu_over_gpu']:.0f}" if row["cpu_over_gpu"] else ""
        lines.append(
            f"| {row['workload']} | {1e3 * row['seconds']:.3g} | {1e3 * row['floor_seconds']:.3g} | {row['floor']} "
            f"| {row['share']:.0%} | {goal} | {ratio} |"
        )
    if measured:
        lines += ["", "| step | | |", "|---|---|---|"]
        lines += [f"| {step['name']} | {step['status']} | {step['note']} |" for step in report["steps"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
