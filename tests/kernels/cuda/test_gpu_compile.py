"""The CUDA programs compiled by NVRTC for every architecture: no GPU, driver or toolkit is needed."""

from __future__ import annotations

import re

import pytest
from cuda_host.nvrtc import Compiled, architectures, compiled, nvrtc

from mcnet import activations
from mcnet.kernels.cuda import kernels
from mcnet.kernels.cuda.modules import Program

pytestmark = pytest.mark.skipif(nvrtc() is None, reason="the wheel nvidia-cuda-nvrtc is missing: nothing was compiled")

ARCHITECTURES = (75, 80, 90, 100, 120)
SHARED = 48 << 10
TANH = activations.get("tanh")


def fill(double: bool, law: int) -> Program:
    return Program("fill", (("MC_BLOCK", kernels.FILL_THREADS), ("MC_DOUBLE", int(double)), ("MC_UNIFORM", law)))


EVERYWHERE = [  # each kernel and each of its paths, in the types that weigh most on registers or memory
    fill(False, 0),
    fill(True, 1),
    kernels.chain_program(TANH, "gaussian", 2, 1000, double=False),
    kernels.chain_program(TANH, "orthogonal", 2, 1000, double=True),
    kernels.chain_program(TANH, "orthogonal", 16, 1000, double=False),
    kernels.tangent_program(TANH, 2, 1000, double=False),
    kernels.weights_program("gaussian", 2, double=False),
    kernels.activate_program(TANH, 2, double=False),
]
SETS = [
    *(fill(double, law) for double in (False, True) for law in (0, 1)),
    *(
        kernels.chain_program(TANH, weights, inputs, 1000, double=double)
        for weights in ("gaussian", "orthogonal")
        for inputs in (1, 4, 5)
        for double in (False, True)
    ),
    kernels.chain_program(TANH, "gaussian", 16, 1000, double=True),
    kernels.tangent_program(TANH, 1, 1000, double=False),
    kernels.tangent_program(TANH, 2, 1000, double=True),
    *(
        kernels.weights_program(law, vectors, double=double)
        for law, vectors in (("uniform", 1), ("gaussian", 8))
        for double in (False, True)
    ),
    *(kernels.activate_program(TANH, inputs, double=double) for inputs in (1, 4, 5) for double in (False, True)),
]


def name(program: object) -> str:
    if not isinstance(program, Program):
        return str(program)
    macros = "-".join(f"{key.removeprefix('MC_').lower()}{value}" for key, value in program.macros)
    return f"{program.name}-{macros}"


def assert_fits(made: Compiled) -> None:
    assert made.code[:4] == b"\x7fELF"
    assert made.registers
    assert max(made.spilled) == 0, f"{max(made.spilled)} bytes of registers are spilled"
    assert max(made.shared, default=0) <= SHARED


def test_the_compiler_knows_the_architectures() -> None:
    assert set(ARCHITECTURES) <= set(architectures())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("program", EVERYWHERE, ids=name)
def test_every_kernel_on_every_architecture(program: Program, architecture: int) -> None:
    assert_fits(compiled(program.text, architecture))


@pytest.mark.parametrize("program", SETS, ids=name)
def test_every_set_of_macros(program: Program) -> None:
    assert_fits(compiled(program.text, 90))


@pytest.mark.parametrize("activation", activations.names())
def test_every_activation(activation: str) -> None:
    """Registered ones included; in the chain, which uses phi, phi' and the kinks."""
    assert_fits(
        compiled(kernels.chain_program(activations.get(activation), "gaussian", 1, 1000, double=False).text, 90)
    )


def test_single_precision_stays_single() -> None:
    """Activations in float32 use no function of double precision, which a GPU computes at a fraction of the speed."""
    for activation in set(activations.names()) - {"sin"}:  # sin reduces huge arguments in double, and only those
        text = kernels.activate_program(activations.get(activation), 5, double=False).text
        assert not re.search(r"\.f64\b", compiled(text, 90, ptx=True).code.decode()), activation


def test_a_mistake_is_told() -> None:
    with pytest.raises(RuntimeError, match="identifier"):
        compiled(fill(False, 0).text.replace("mc_radius", "radius_of", 1), 90)
