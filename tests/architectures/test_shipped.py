"""Every architecture that comes with mcnet: its kernel by finite differences, asked as built, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain_programs as plain
import program_zoo as zoo
import pytest
from same_law import assert_same_law

from mcnet.programs.names import ProgramError
from mcnet.programs.questions import Parameterization

NTK = Parameterization("ntk", True)

CASES = [
    zoo.shipped("residual", block="post", skip=0.9, branch="1/sqrt(depth)"),
    zoo.shipped("residual", block="pre", branch=0.7, outputs=2),
    zoo.shipped("residual", block="two", branch=0.7, sigma_v2=1.2, sigma_c2=0.05),
    zoo.shipped("residual", block="two", sigma_v2=1.2, weights="orthogonal"),
    zoo.shipped("convolution", positions=4, kernel=3, taps=[0.2, 0.5, 0.3], depth=2),
    zoo.shipped("convolution", positions=[2, 3], kernel=1, pooling="flat", outputs=2, depth=2),
    zoo.shipped("convolution", positions=[3, 3], depth=1),
    zoo.shipped("convolution", positions=3, weights="delta-orthogonal", depth=2),
    zoo.shipped("convolution", positions=4, weights="orthogonal", depth=1),  # 8 questions of a matrix of 6 units
    zoo.shipped("convolution", positions=3, weights="orthogonal", depth=1, inputs=1, outputs=2),  # 3 questions
    zoo.shipped("convolution", positions=[3, 3], weights="orthogonal", pooling="flat", depth=1, inputs=1),
    zoo.shipped("recurrent"),
    zoo.shipped("recurrent", leak=0.5, sequence="constant", sigma_u2=0.5),
    zoo.shipped("recurrent", tied=False, sequence="fresh", sigma_u2=0.5, sequence_variance=0.7),
    zoo.shipped("minimal-rnn", gate_bias=0.5),
    zoo.shipped("minimal-rnn", tied=False, sequence="none"),
    zoo.shipped("gru", gate_bias={"update": 1.0}, depth=2),
    zoo.shipped("lstm", gate_bias=0.3, depth=2),
    zoo.shipped("residual", block="post", normalization="hidden-batch", inputs=5),
    zoo.shipped("dense", normalization="hidden-layer", outputs=2),
    zoo.shipped("transformer", tokens=3, heads=2, depth=1),
    zoo.shipped("transformer", tokens=2, head_size=4, softmax_scale="1/n", normalization="post-layer", depth=1),
    zoo.shipped("transformer", tokens=2, heads=3, normalization="pre-layer", attention=0.5, depth=1, outputs=None),
]


def spreads(p: Any, columns: int, fan: int, key: Any) -> Any:
    """sqrt of the shares of the taps, for the columns of a window's matrix."""
    if p.get("taps") is None or columns == fan:
        return 1.0
    return np.sqrt(np.repeat(p.taps, fan))[None, :, None]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_tangent_kernel_is_that_of_all_weights(case: zoo.Case) -> None:
    weights, trace = plain.weights_of(case)
    p = zoo.parameters(case)
    of = zoo.laws(p).of
    parts = []
    for key, (dw, db) in plain.derivatives(case, weights).items():
        law, asked = of(key), trace.count.matrices[key].asked
        parts += [np.sqrt(law.sigma_w2 / asked.fan) * dw.reshape(-1, dw.shape[-1]), np.sqrt(law.sigma_b2) * db]
    g = np.concatenate(parts)
    theta = trace.backward(NTK).kernel[0]
    np.testing.assert_allclose(theta, g.T @ g, rtol=0, atol=1e-9 * abs(theta).max())


def columns(case: zoo.Case, sampler: str, networks: int, seed: int) -> np.ndarray[Any, Any]:
    trace = zoo.run(case, sampler, networks, seed=seed, precision="mixed")
    back = trace.backward(NTK)
    last = max(key for key in trace.seen if key != ("h", 0))
    gram = trace.gram(last)
    parts = [trace.outputs, gram[:, 0, :2], back.lengths[last][:, :, 0], back.kernel[:, 0, :]]
    parts.append((back.kernel[:, 0, 0] * gram[:, 0, 0])[:, None])
    return np.concatenate([part.reshape(networks, -1) for part in parts], axis=1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_asked_networks_have_the_law_of_built_ones(case: zoo.Case) -> None:
    asked, built = (columns(case, sampler, 1500, seed) for sampler, seed in (("conditioned", 5), ("explicit", 6)))
    assert_same_law(asked, built, case.name)


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("residual", {"skip": 0, "branch": 0.0}, "nothing reaches the outputs"),
        ("residual", {"skip": 2.0, "depth": 400}, "beyond what float32 holds"),
        ("residual", {"block": "two"}, "needs sigma_v2"),
        ("residual", {"sigma_v2": 1.0}, 'belongs to block = "two"'),
        ("residual", {"branch": "1/2"}, r'must be a number, "1/sqrt\(depth\)" or "1/depth"'),
        ("residual", {"block": "three"}, 'must be one of "post", "pre", "two"'),
        ("residual", {"block": "two", "sigma_v2": -1.0}, "at least 0"),
        ("convolution", {}, '"positions" is missing'),
        ("residual", {"zero_last": True}, 'zero_last belongs to block = "two"'),
        ("residual", {"block": "two", "zero_last": True, "sigma_v2": 1.0}, "sigma_v2 = 1 says otherwise"),
        ("residual", {"block": "two", "zero_last": "yes"}, "must be true or false"),
        ("convolution", {"positions": 8, "kernel": 4}, "odd number of taps"),
        ("convolution", {"positions": 3, "kernel": 5}, "larger than the grid"),
        ("convolution", {"positions": 4, "taps": [0.5, 0.6, -0.1]}, "none negative"),
        ("convolution", {"positions": 4, "taps": [0.5, 0.6, 0.1]}, "sum to 1.2"),
        ("convolution", {"positions": [4, 4], "taps": [0.5, 0.5]}, "2 variances for a window of 9"),
        ("convolution", {"positions": [4, 4, 4]}, "a number of positions, or two"),
        ("convolution", {"positions": 4, "weights": "orthogonal", "width": 5}, "width = 5 has no halves"),
        ("convolution", {"positions": 4, "weights": "orthogonal", "kernel": 4}, "no centre; take an odd number"),
        ("convolution", {"positions": 4, "weights": "orthogonal", "taps": [0.25, 0.5, 0.25]}, "leave taps out"),
        ("convolution", {"positions": 4, "weights": "delta-orthogonal", "taps": [0, 1, 0]}, "leave taps out"),
        ("recurrent", {"leak": 0.0}, r"lies in \(0, 1\]"),
        ("recurrent", {"leak": 1.5}, "from 0 to 1"),
        ("recurrent", {"sequence": "fresh"}, "enters through sigma_u2, which is 0"),
        ("recurrent", {"sigma_u2": 1.0}, "weighs a sequence"),
        ("gru", {"gate_bias": {"write": 1.0}}, 'names the gate "write"'),
        ("lstm", {"sigma_v2": -1.0}, "at least 0"),
        ("transformer", {"tokens": 2, "heads": 20}, "no unit each"),
        ("transformer", {"tokens": 2, "softmax_scale": "sqrt"}, '"1/sqrt", "1/n" or a number'),
    ],
)
def test_what_is_refused(name: str, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ProgramError, match=sentence):
        zoo.shipped(name, **given)


@pytest.mark.parametrize("sampler", ["conditioned", "explicit"])
def test_networks_with_a_zero_last_matrix_are_skips(sampler: str) -> None:
    """Zhang, Dauphin, Ma 2019: h^L = a^L x, no gradient reaches W, and the kernel is that of readout and V alone."""
    case = zoo.shipped("residual", block="two", zero_last=True, skip=0.9, branch=0.7, inputs=1)
    p = zoo.parameters(case)
    trace = zoo.run(case, sampler, 2, precision="float64")
    found, depth, width = trace.backward(Parameterization("standard", False)), p.depth, p.width
    start, end = (trace.gram(("h", layer))[:, 0, 0] for layer in (0, depth))
    np.testing.assert_allclose(end, 0.9 ** (2 * depth) * start * np.ones(2), rtol=1e-12)
    assert all(abs(found.lengths["u", layer]).max() == 0.0 for layer in range(1, depth + 1))
    theta = width * end  # of the readout; a block adds s^2 |D|^2 (M Phi), D = a^(L - l) w
    for layer in range(1, depth + 1):
        features = (np.tanh(trace.vector(("u", layer)).value) ** 2).sum(axis=(1, 2, 3))
        theta = theta + 0.7**2 * 0.9 ** (2 * (depth - layer)) * found.lengths["h", depth][:, 0, 0] * features
    np.testing.assert_allclose(found.kernel[:, 0, 0], theta, rtol=1e-9)


def test_a_stream_needs_inputs_of_its_width() -> None:
    case = zoo.shipped("residual", block="post")
    with pytest.raises(ProgramError, match="a sum: vectors of 5 and of 6 units"):
        zoo.run(case, "explicit", x=np.ones((1, 2, 5)))
