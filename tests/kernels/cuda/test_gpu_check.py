"""The check of a GPU, run where there is none: it passes on the host build, and it can fail."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_host.build import compiler

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from benchmarks import gpu_agreement, gpu_check, gpu_studies  # noqa: E402
from mcnet import architectures  # noqa: E402
from mcnet.backend import get_backend  # noqa: E402
from mcnet.observables.catalog import OBSERVABLES  # noqa: E402
from mcnet.recipe import LOSSES, OPTIMIZERS  # noqa: E402

needs_compiler = pytest.mark.skipif(
    compiler() is None, reason="g++ is missing: CUDA kernels cannot be built for the host"
)
LAWS = {"gaussian", "orthogonal", "uniform", "delta-orthogonal"}
BEYOND = ("pydantic", "matplotlib", "jinja2", "threadpoolctl", "h5netcdf", "array_api_strict", "hypothesis")


@needs_compiler
def test_dry_run_with_few_packages_and_nothing_installed() -> None:
    """Below the scenario, with none of the packages that a bare machine with a GPU may lack."""
    hide = f"import sys; sys.modules.update(dict.fromkeys({BEYOND!r}))"
    run = f"{hide}; from benchmarks.gpu_check import main; sys.exit(main(['--dry-run']))"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 of 26 steps failed" in done.stdout
    assert done.stdout.count("skipped") == 1


@needs_compiler
def test_a_wrong_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One normal in its last bit, one moment by 1e-4: the steps fail and the exit code says so."""
    device = gpu_check.host_device()

    class Wrong:
        def __getattr__(self, name: str) -> Any:
            return getattr(device.kernels, name)

        def uniforms(self, *arguments: Any, **options: Any) -> Any:
            x = device.kernels.uniforms(*arguments, **options)
            return np.nextafter(x, x.dtype.type(2))

        def conditioned_chain(self, *arguments: Any, **options: Any) -> Any:
            u, h = device.kernels.conditioned_chain(*arguments, **options)
            return type(device.kernels.conditioned_chain(*arguments, **options))(u * (1 + 1e-4), h)

    wanted = ("streams", "conditioned chain", "activations in the chain")
    steps = [step for step in gpu_agreement.steps(True) if step[0] in wanted]
    monkeypatch.setattr(gpu_agreement, "steps", lambda quick: steps)
    monkeypatch.setattr(gpu_check, "host_device", lambda: dataclasses.replace(device, kernels=Wrong()))
    monkeypatch.setattr(gpu_check.gpu_timings, "workloads", lambda quick: ())
    assert gpu_check.main(["--dry-run"]) == 1
    assert "3 of 4 steps failed" in capsys.readouterr().out


def test_every_observable_architecture_optimizer_and_law_is_checked() -> None:
    """What is added to mcnet has to be added to the check of a device."""
    trained = list(gpu_studies.trainings(True))
    studies = [*gpu_agreement.ensembles(True), *gpu_agreement._programs(True), *trained]
    assert {name for _, _, request in studies for name in request.measures} == set(OBSERVABLES)
    assert {where.architecture for _, where, _ in studies} == set(architectures.names())
    for name in architectures.names():
        assert set(architectures.lookup(name).weights) <= LAWS
    assert {where.weights for _, where, _ in studies} == LAWS
    assert {request.train.optimizer for _, _, request in trained if request.train} == set(OPTIMIZERS)
    assert {request.train.loss for _, _, request in trained if request.train} == set(LOSSES)
    for _, where, request in studies:
        for name, options in request.measures.items():
            check = OBSERVABLES[name].check
            assert check is None or not check(where, options)


def test_numbers_that_are_not_finite_fail() -> None:
    with pytest.raises(gpu_agreement.Mismatch, match="not finite"):
        gpu_agreement.close(np.array([[np.nan]]), np.array([[np.nan]]), 1.0, "both NaN")
    with pytest.raises(gpu_agreement.Mismatch, match="not finite"):
        gpu_agreement.close(np.array([[np.inf]]), np.array([[np.inf]]), 1.0, "both inf")


def test_time_that_is_over_skips_steps_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    report = gpu_check.check(get_backend("cpu"), get_backend("cpu"), True, -1.0)
    assert {step["status"] for step in report["steps"]} == {"skipped"}
    assert "minutes are over" in capsys.readouterr().out


def test_no_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--device", "cuda:99", "--out", str(tmp_path)]) == 69
    assert "nothing was checked" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_page_is_what_the_code_writes() -> None:
    """Measured: from the numbers beside it. Not measured: the blank table of the workloads as they are."""
    folder = ROOT / "docs" / "benchmarks"
    numbers = folder / "gpu.json"
    report = json.loads(numbers.read_text()) if numbers.exists() else gpu_check.blank()
    assert (folder / "gpu.md").read_text() == gpu_check.markdown(report)
