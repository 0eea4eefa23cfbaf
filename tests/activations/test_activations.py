"""The table of activations: values, derivatives, printed forms, registering."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray
from scipy.integrate import quad

from mcnet import activations
from mcnet.activations import table as activation_table
from mcnet.activations.table import Activation
from mcnet.activations.verifying import verify
from mcnet.kernels.lanes.printing import numba_source
from mcnet.kernels.lanes.simd import load, store

SCALARS: dict[str, Callable[[float], float]] = {  # written again, by the definitions
    "linear": lambda u: u,
    "relu": lambda u: max(u, 0.0),
    "leaky-relu": lambda u: u if u > 0 else 0.01 * u,
    "shifted-relu": lambda u: max(u, -0.5),
    "tanh": math.tanh,
    "erf": math.erf,
    "hard-tanh": lambda u: min(max(u, -1.0), 1.0),
    "gelu": lambda u: u * 0.5 * math.erfc(-u / math.sqrt(2)),
    "silu": lambda u: u / (1 + math.exp(-u)),
    "elu": lambda u: u if u > 0 else math.expm1(u),
    "selu": lambda u: 1.0507009873554805 * (u if u > 0 else 1.6732632423543772 * math.expm1(u)),
    "softplus": lambda u: math.log1p(math.exp(u)),
    "sigmoid": lambda u: 1 / (1 + math.exp(-u)),
    "sin": math.sin,
}

NAMES = tuple(SCALARS)


@pytest.fixture
def table() -> Iterator[None]:
    """What a test registers is gone afterwards."""
    before = dict(activation_table._TABLE)
    yield
    activation_table._TABLE.clear()
    activation_table._TABLE.update(before)


def test_the_table_holds_the_names_of_the_contract() -> None:
    assert set(NAMES) <= set(activations.names())


@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives(name: str) -> None:
    activation = activations.get(name)
    verify(activation)
    u = np.linspace(-8, 8, 321)
    exact = np.array([SCALARS[name](float(x)) for x in u])
    np.testing.assert_allclose(activation.phi(u), exact, rtol=1e-13, atol=1e-14)
    assert activation.phi(u.astype(np.float32)).dtype == np.float32
    assert activation.dphi(u.astype(np.float32)).dtype == np.float32
    assert activation.dphi(u).shape == u.shape
    if activation.homogeneous:
        np.testing.assert_allclose(activation.phi(4 * u), 4 * activation.phi(u), rtol=1e-15)


def test_parameters() -> None:
    leaky = activations.get({"name": "leaky-relu", "slope": 0.1})
    assert leaky.phi(-2.0) == -0.2
    assert leaky.label == "leaky-relu(slope=0.1)"
    assert leaky.specification == {"name": "leaky-relu", "slope": 0.1}
    assert activations.get(leaky) is leaky
    assert activations.get({"name": "erf", "scale": 2.0}).phi(0.3) == pytest.approx(math.erf(0.6), rel=1e-15)
    assert activations.get({"name": "shifted-relu", "shift": 0.25}).kinks == (-0.25,)
    assert activations.get({"name": "elu", "alpha": 2}).dphi(-1.0) == pytest.approx(2 * math.exp(-1), rel=1e-15)
    assert activations.get("tanh").phi(1) == pytest.approx(math.tanh(1), rel=1e-15)
    assert activations.get("tanh").specification == activations.get("tanh").label == "tanh"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("tanhh", "not known"),
        ({"slope": 0.1}, "not known"),
        ({"name": "relu", "slope": 0.1}, "no parameter"),
        ({"name": "leaky-relu", "slope": "0.1"}, "finite number"),
        ({"name": "leaky-relu", "slope": True}, "finite number"),
        ({"name": "leaky-relu", "slope": math.inf}, "finite number"),
    ],
)
def test_what_get_refuses(given: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        activations.get(given)


def vectorised(activation: Activation) -> Callable[[NDArray[Any]], tuple[NDArray[Any], ...]]:
    """(phi, dphi, phi and dphi of the pair form, kink product with u + 1) of an array, by the printed vector code."""
    scope: dict[str, Any] = {}
    exec(numba_source(activation), scope)
    phi, dphi, phi_dphi, kink_product = (scope[name] for name in ("phi", "dphi", "phi_dphi", "kink_product"))

    @njit(error_model="numpy")  # type: ignore[untyped-decorator]
    def loop(
        u: NDArray[Any], a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], d: NDArray[Any], e: NDArray[Any]
    ) -> None:
        for i in range(0, u.size, 16):
            x = load(u, i)
            y, slope = phi_dphi(x)
            store(a, i, phi(x))
            store(b, i, dphi(x))
            store(c, i, y)
            store(d, i, slope)
            store(e, i, kink_product(x, x + 1.0))

    def evaluate(u: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        results = tuple(np.empty_like(u) for _ in range(5))
        loop(u, *results)
        return results

    return evaluate


def check_printed(activation: Activation) -> None:
    rng = np.random.default_rng(3)
    tiny = np.exp(rng.uniform(math.log(1e-30), 0, 1600)) * rng.choice([-1, 1], 1600)
    evaluate = vectorised(activation)
    for dtype, tolerance in ((np.float32, 2e-6), (np.float64, 1e-14)):
        u = np.concatenate([np.linspace(-12, 12, 4000), tiny]).astype(dtype)
        for kink in activation.kinks:  # in float32 a kink may lie on the other side of its rounded neighbour
            u = u[np.abs(u - kink) > 1e-6 * abs(kink)]
        u = u[: u.size // 16 * 16]
        phi, dphi, pair_phi, pair_dphi, product = evaluate(u)
        np.testing.assert_array_equal(phi, pair_phi)
        np.testing.assert_array_equal(dphi, pair_dphi)
        exact = activation.phi(u.astype(np.float64))
        at_zero = abs(float(activation.phi(0.0)))
        # relative to phi, or to u where phi is the small difference of larger terms, and never worse near zero
        scale = np.maximum(np.abs(exact), np.minimum(np.abs(u), 1.0) + at_zero)
        assert np.max(np.abs(phi - exact) / scale) < tolerance
        exact = activation.dphi(u.astype(np.float64))
        assert np.max(np.abs(dphi - exact) / (1 + np.abs(exact))) < tolerance
        between = np.zeros(u.shape, bool)
        for kink in activation.kinks:
            between |= (u < kink) & (u + 1 > kink)
        np.testing.assert_array_equal(product < 0, between)


@pytest.mark.parametrize("name", NAMES)
def test_printed_form(name: str) -> None:
    check_printed(activations.get(name))


def _bent_slope(q: float, knee: float) -> float:
    """E phi'^2 by SciPy: 1 below the knee, 1 - 1/(1 + x^2) above."""
    density = lambda u: math.exp(-0.5 * u * u / q) / math.sqrt(2 * math.pi * q)  # noqa: E731
    lost = quad(lambda u: density(u) / (1 + (u - knee) ** 2), knee, 40.0, epsabs=1e-13)[0]
    return float(1.0 - lost)


@pytest.mark.usefixtures("table")
def test_a_registered_activation_needs_no_other_entry() -> None:
    activations.register(
        "bent-root",
        lambda u, m, knee: m.where(u > knee, m.sqrt(1 + (u - knee) ** 2) - 1, knee - u),
        lambda u, m, knee: m.where(u > knee, (u - knee) / m.sqrt(1 + (u - knee) ** 2), -1.0),
        kinks=lambda knee: (knee,),
        parameters={"knee": 0.25},
        closed={"derivative_square": lambda q, knee: _bent_slope(q, knee)},
    )
    bent = activations.get({"name": "bent-root", "knee": 0.5})
    assert "bent-root" in activations.names()
    assert bent.kinks == (0.5,)
    square = bent.closed("derivative_square")
    assert square is not None
    assert square(1.0) == _bent_slope(1.0, 0.5)
    assert bent.closed("product") is None
    check_printed(bent)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("name", ["tanh", "Tanh2", "", "-a", "a-", "a--b", "a b", "2a", "wäre", "a_b"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="activation"):
        activations.register(name, lambda u, m: u, lambda u, m: 1.0)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("phi", "dphi", "error", "why"),
    [
        (lambda u, m: u * u, lambda u, m: u, ValueError, "differs from the slope"),
        (lambda u, m: u * u, lambda u, m: 2.00001 * u, ValueError, "differs from the slope"),
        (lambda u, m: m.abs(u), lambda u, m: m.where(u > 0.1, 1.0, -1.0), ValueError, "differs from the slope"),
        (lambda u, m: m.sqrt(u), lambda u, m: 0.5 / m.sqrt(u), ValueError, "differs from the slope"),
        (lambda u, m: u if u > 0 else 0 * u, lambda u, m: m.where(u > 0, 1.0, 0.0), TypeError, "elementwise"),
        (lambda u, m: np.tanh(u), lambda u, m: 1 - m.tanh(u) ** 2, TypeError, "ufunc"),
    ],
)
def test_wrong_functions_are_refused_and_forgotten(phi: Any, dphi: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        activations.register("wrong", phi, dphi)
    assert "wrong" not in activations.names()


RELU = (lambda u, m: m.maximum(u, 0.0), lambda u, m: m.where(u > 0.0, 1.0, 0.0))
TANH = (lambda u, m: m.tanh(u), lambda u, m: 1.0 - m.tanh(u) * m.tanh(u))
LIES: dict[str, tuple[Any, dict[str, Any]]] = {
    "is not homogeneous: phi.0.25 u. differs": (TANH, {"homogeneous": True}),
    "jumps at u = .*, which is not among its kinks": (RELU, {}),
    r'closed mean "square" at 0.4 is 0.208, by quadrature 0.2': (
        RELU,
        {"kinks": (0.0,), "closed": {"square": lambda q: 0.52 * q}},
    ),
    'closed mean "derivative_product" at 0.5, 2, -0.4': (
        RELU,
        {"kinks": (0.0,), "closed": {"derivative_product": lambda a, b, k: 0.25 + np.arcsin(0.6) / (2 * np.pi)}},
    ),
    '"mean" is not a Gaussian mean': (TANH, {"closed": {"mean": lambda q: 0.0}}),
    "phi is not finite at u = -50": ((lambda u, m: m.exp(-20 * u), lambda u, m: -20 * m.exp(-20 * u)), {}),
}


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("told", LIES)
def test_lies_are_refused_by_name(told: str) -> None:
    (phi, dphi), claims = LIES[told]
    with pytest.raises(ValueError, match=f'activation "liar": .*{told}'):
        activations.register("liar", phi, dphi, **claims)
    assert "liar" not in activations.names()


@pytest.mark.usefixtures("table")
def test_what_is_true_is_accepted() -> None:
    from mcnet.activations.closed_means import RELU as MEANS

    activations.register("relu-again", *RELU, kinks=(0.0,), closed=MEANS, homogeneous=True)
    steep = (lambda u, m: m.tanh(1e4 * u), lambda u, m: 1e4 * (1.0 - m.tanh(1e4 * u) ** 2))
    activations.register("steep", *steep)
    verify(activations.get({"name": "erf", "scale": 8.0}))
    assert {"relu-again", "steep"} <= set(activations.names())


def test_light_import() -> None:
    code = "import sys, mcnet.activations; print(*{'scipy', 'numba', 'h5py', 'xarray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
