"""Coefficients of 1/M of every architecture against its own networks: ``python -m tools.coefficients [N] [NAMES]``.

Of each architecture 100 000 networks of four widths are sampled and judged by the analysis: lengths, gradients and the
tangent kernel of one input, means and variances together, whitened. Then without the memory of the units, where they
persist from layer to layer: that must be rejected. About a quarter of an hour on one core; what was seen is recorded in
docs/theory/programs.md.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from mcnet_analysis.analyze import Analysis, judge

import mcnet
from mcnet.predictions import programs
from mcnet.theory.program.jets import Sites
from mcnet.theory.program.quantities import Quantity
from mcnet.theory.program.sites import Parts, zeros

NETWORKS = 100_000
WIDTHS = [48, 96, 192, 384]
GATED = {"sequence_variance": 0.8, "gate_bias": 0.5}
ATTENTION = {"architecture": "transformer", "tokens": 2, "softmax_scale": "1/n"}

CASES: dict[str, dict[str, Any]] = {
    "residual post": {"architecture": "residual", "block": "post", "skip": 0.9, "branch": 0.7, "activation": "gelu"},
    "residual pre": {"architecture": "residual", "block": "pre", "skip": 0.9, "branch": 0.7, "activation": "gelu"},
    "residual two": {"architecture": "residual", "block": "two", "branch": 0.7, "sigma_v2": 1.2},
    "convolution gap": {"architecture": "convolution", "positions": 3},
    "convolution flat": {"architecture": "convolution", "positions": 3, "pooling": "flat"},
    "convolution delta": {"architecture": "convolution", "positions": 3, "weights": "delta-orthogonal"},
    "convolution orthogonal": {"architecture": "convolution", "positions": 3, "weights": "orthogonal"},
    "recurrent": {"architecture": "recurrent", "activation": "gelu"},
    "recurrent leaky": {"architecture": "recurrent", "leak": 0.6, "sequence": "fresh", "sigma_u2": 0.5},
    "minimal-rnn": {"architecture": "minimal-rnn", **GATED},
    "gru": {"architecture": "gru", **GATED},
    "lstm": {"architecture": "lstm", **GATED},
    "transformer": ATTENTION,
    "transformer pre-layer": {**ATTENTION, "normalization": "pre-layer"},
    "transformer post-layer": {**ATTENTION, "normalization": "post-layer"},
    "hidden-layer": {"normalization": "hidden-layer"},
    "hidden-batch": {"normalization": "hidden-batch"},
}
BATCH = {"kind": "gaussian", "count": 8, "q0": 1.0}
"""Inputs of batch normalisation; lengths alone: its kernel has too many entries."""


def study(network: dict[str, Any], networks: int) -> Any:
    """Networks of four widths as a dataset in memory."""
    batch = network.get("normalization") == "hidden-batch"
    single = {"kind": "single", "q0": 1.0, "fresh": not {"positions", "tokens"} & network.keys()}
    laws = {"activation": "tanh", "weights": "gaussian", "sigma_w2": 1.8, "sigma_b2": 0.2, "parameterization": "ntk"}
    return mcnet.sample(
        {
            "mcnet": 1,
            "title": "coefficients",
            "network": {**laws, "depth": 3, "outputs": 1, **network},
            "inputs": BATCH if batch else single,
            "sweep": {"width": WIDTHS},
            "sampling": {"networks": networks // len(WIDTHS), "seed": 7, "sampler": "conditioned"},
            "measure": {"q": {}} if batch else {"q": {}, "q_tilde": {}, "ntk": {"lambda_min": False}},
        }
    )


@contextlib.contextmanager
def forgetful() -> Iterator[None]:
    """Expansions without the memory of the units."""

    def nothing(self: Sites, numbers: Quantity, slopes: Parts, blocks: list[int]) -> Parts:
        return zeros(1)

    kept = Sites._memory_of_site
    Sites._memory_of_site = nothing  # type: ignore[method-assign]
    programs._theory.cache_clear()
    try:
        yield
    finally:
        Sites._memory_of_site = kept  # type: ignore[method-assign]
        programs._theory.cache_clear()


def row(name: str, found: Analysis, mutant: Analysis, seconds: float) -> str:
    """One line of the table."""
    z = [r["z"] for f in found.families for r in f.comparisons if r["left_out"] is None and np.isfinite(r["z"])]
    one, other, largest = found.verdict, mutant.verdict, max(map(abs, z), default=0.0)
    return (
        f"{name:24s} chi2 {one.chi2:7.1f} dof {one.dof:3d} p {one.p_value:8.2g} max|z| {largest:4.1f}"
        f"   without memory p {other.p_value:8.2g}   {seconds:5.0f} s"
    )


def main(arguments: list[str]) -> None:
    """Print the table."""
    networks = int(arguments[0]) if arguments else NETWORKS
    for name in arguments[1:] or CASES:
        start = time.process_time()
        tree = study(CASES[name], networks)
        found = judge(tree)
        with forgetful():
            mutant = judge(tree)
        print(row(name, found, mutant, time.process_time() - start), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
