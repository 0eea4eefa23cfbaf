"""Devices: which one is taken, what is said where there is none, and the whole way to a launch through a stand-in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_host.build import compiler, module_of
from network_points import GRADIENT, measured, point
from scipy.special import erf

from mcnet import backend
from mcnet.engine.machines import asked, chosen_devices
from mcnet.errors import DeviceError, UsageError
from mcnet.kernels.cuda import linalg
from mcnet.kernels.cuda.kernels import OPTIONS

needs_compiler = pytest.mark.skipif(
    compiler() is None, reason="g++ is missing: CUDA kernels cannot be built for the host"
)


class StandIn(ModuleType):
    """A module with the names of CuPy that mcnet uses: arrays are NumPy's, programs are built for the host."""

    __version__ = "14.2.0"

    def __init__(self, devices: int) -> None:
        super().__init__("cupy")
        self.used: list[int] = []
        properties = {"name": b"Stand-in", "major": 9, "minor": 0, "totalGlobalMem": 80 << 30}
        runtime = SimpleNamespace(
            getDeviceCount=lambda: devices,
            getDeviceProperties=lambda number: properties,
            driverGetVersion=lambda: 13010,
            runtimeGetVersion=lambda: 12090,
            memGetInfo=lambda: (1 << 30, 80 << 30),
        )
        self.cuda = SimpleNamespace(
            runtime=runtime,
            Device=lambda number: SimpleNamespace(use=lambda: self.used.append(number)),
            memory=SimpleNamespace(OutOfMemoryError=type("OutOfMemoryError", (MemoryError,), {})),
        )
        self.is_available = lambda: devices > 0
        self.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 1 << 20)
        self.asnumpy = np.asarray

    def RawModule(self, *, code: str, options: tuple[str, ...]) -> Any:
        assert options == OPTIONS
        module = module_of(code)
        return SimpleNamespace(
            get_function=lambda kernel: lambda grid, block, arguments: module.launch(kernel, grid, block, *arguments)
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@pytest.fixture
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """CuPy with so many devices (the fixture's parameter, else 2)."""
    module = StandIn(getattr(request, "param", 2))
    special = ModuleType("cupyx.scipy.special")
    special.erf = erf  # type: ignore[attr-defined]
    packages = {name: ModuleType(name) for name in ("cupyx", "cupyx.scipy")}
    for name, given in {"cupy": module, "cupyx.scipy.special": special, **packages}.items():
        monkeypatch.setitem(sys.modules, name, given)
    monkeypatch.setattr(linalg, "cusolver", lambda: None)
    monkeypatch.setenv("CUPY_TF32", "1")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    backend._cupy.cache_clear()
    yield module
    backend._cupy.cache_clear()


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "cupy", None)
    backend._cupy.cache_clear()
    yield
    backend._cupy.cache_clear()


@pytest.mark.usefixtures("no_cupy")
def test_without_cupy() -> None:
    assert backend.cuda_devices() == 0
    assert backend.get_backend("auto").name == "cpu"
    with pytest.raises(DeviceError, match=r'"cuda:0" is not there: .*pip install "mcnet\[cuda13\]"') as told:
        backend.get_backend("cuda:0")
    assert told.value.exit_code == 69


@pytest.mark.parametrize("cupy", [0], indirect=True)
def test_without_a_device(cupy: StandIn) -> None:
    assert backend.get_backend("auto").name == "cpu"
    with pytest.raises(DeviceError, match="sees no CUDA device"):
        backend.get_backend("cuda:0")


def test_devices_by_name(cupy: StandIn) -> None:
    assert backend.get_backend("auto").name == "cuda:0"
    assert backend.get_backend("cuda:1").name == "cuda:1"
    assert backend.get_backend("cpu").name == "cpu"
    assert cupy.used == [0, 1]
    with pytest.raises(DeviceError, match="this machine has cuda:0 to cuda:1"):
        backend.get_backend("cuda:2")
    for wrong in ("cuda:x", "cuda:", "gpu", "cuda:-1"):
        with pytest.raises(UsageError, match="is not known"):
            backend.get_backend(wrong)


def test_what_computed_is_described(cupy: StandIn) -> None:
    import os

    facts = backend.get_backend("cuda:1").describe()
    assert facts["backend"] == "cuda:1"
    assert facts["device"] == "Stand-in"
    assert facts["driver"] == "13.1"
    assert facts["cuda_runtime"] == "12.9"
    assert facts["cupy"] == "14.2.0"
    assert facts["tf32"] == "off"
    assert facts["stream_version"] == "1"
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    assert "CUPY_TF32" not in os.environ
    assert set(backend.get_backend("cpu").describe()) >= {"backend", "device", "stream_version"}


def test_a_sub_batch_takes_a_share_of_the_free_memory(cupy: StandIn) -> None:
    free = (1 << 30) + (1 << 20)
    assert backend.get_backend("cuda:0").memory() == int(backend.GPU_SHARE * free)


def test_auto_takes_all_devices_but_no_more_than_workers(cupy: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    for workers, taken in ((None, "cuda:0,cuda:1"), (1, "cuda:0"), (7, "cuda:0,cuda:1")):
        machines = asked(workers, "local", None, None, "auto")
        assert chosen_devices("auto", machines, quiet=False) == taken
        assert capsys.readouterr().err == f"device: {taken}\n"
    with pytest.raises(DeviceError):
        chosen_devices("cuda:0,cuda:5", machines, quiet=True)


@needs_compiler
@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
def test_the_way_to_a_launch(cupy: StandIn, sampler: str) -> None:
    """From measure to the kernels through the code that runs on a GPU, with a stand-in for CuPy alone."""
    where = point(2, width=24)
    ours = measured(where, sampler, GRADIENT, 2, 5, backend=backend.get_backend("cuda:0"))
    theirs = measured(where, sampler, GRADIENT, 2, 5)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-11, err_msg=name)
