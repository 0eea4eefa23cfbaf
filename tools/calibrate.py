"""Calibrate the verdict: ``python -m tools.calibrate [STUDIES]``, 150 small studies of each kind by default.

Networks of a known law are sampled and judged again and again. Where theory is right, p is uniform: the table shows the
Kolmogorov-Smirnov probability of that, the mean of p and the share below 0.01. Then, in each study, all values of one
observable are made larger by the share that this study says it would see with 90 % probability (the table has the
median), and the studies that do see it are counted.
Networks and analysis are those of the program; nothing else enters. Minutes on one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from mcnet_analysis.analyze import judge
from mcnet_analysis.judge.table import Row
from mcnet_analysis.predict.prediction import Theory
from mcnet_analysis.predict.spectra import Laws
from mcnet_analysis.statistics.power import LEVEL
from numpy.typing import NDArray
from scipy import stats

import mcnet

STUDIES = 150
SPOILED = 60
"""Studies that are judged again with values that are wrong."""

KERNEL = {"outputs": 1, "parameterization": "ntk"}
TANH = {"activation": "tanh", "weights": "gaussian", "depth": 3, "sigma_w2": 1.7, "sigma_b2": 0.1}
RELU = {"activation": "relu", "weights": "gaussian", "depth": 3, "sigma_w2": 2.0, "sigma_b2": 0.0}
HAAR = {**TANH, "activation": "gelu", "weights": "orthogonal", "sigma_w2": 2.0}
SHARP = {**RELU, "weights": "orthogonal"}
SHORT = {**TANH, "depth": 2}
NEAR = {**TANH, **KERNEL, "depth": 2, "sigma_w2": 1.5, "sigma_b2": 0.0}
FISHER = {**TANH, "outputs": 1}
TWO = {**TANH, "outputs": 2}

PAIR = {"kind": "pair", "q0": 1.0, "c0": 0.6}
SINGLE = {"kind": "single", "q0": 1.0}
FIXED = {"kind": "single", "q0": "fixed-point"}
FRESH = {"kind": "gaussian", "count": 20, "fresh": True}
VECTORS = {"kind": "values", "values": (np.random.default_rng(12).normal(size=(12, 20)) + 0.4).tolist()}

MOMENTS = {"keep": "moments", "moments": 2}
LAST = {"jacobian": MOMENTS}, "jacobian_moment"


class Kind(NamedTuple):
    """A kind of study, and the observable that is made wrong."""

    title: str
    network: Mapping[str, Any]
    inputs: Mapping[str, Any]
    widths: tuple[int, ...]
    networks: int
    measures: Mapping[str, Any]
    spoiled: str
    spectra: tuple[str, ...] = ()
    """Theories of spectra; all if none is named."""

    def tree(self, seed: int) -> Any:
        """Its networks at a seed."""
        return mcnet.sample(
            {
                "mcnet": 1,
                "network": dict(self.network),
                "inputs": dict(self.inputs),
                "sweep": {"width": list(self.widths)},
                "sampling": {"networks": self.networks, "seed": seed},
                "measure": dict(self.measures),
            }
        )


KINDS = (
    Kind("signal, tanh", TANH, PAIR, (32, 64, 128), 1500, {"q": {}, "c": {}}, "c"),
    Kind("signal, relu", RELU, PAIR, (24, 48, 96), 1500, {"q": {}}, "q_hat"),
    Kind("signal, gelu, orthogonal", HAAR, PAIR, (32, 64, 128), 400, {"q": {}, "c": {}}, "q"),
    Kind("signal, uniform weights", {**TANH, "weights": "uniform"}, PAIR, (32, 64, 128), 300, {"q": {}}, "q_hat"),
    Kind("gradients, tanh", {**TANH, **KERNEL}, PAIR, (32, 64, 128), 1500, {"q_tilde": {}, "chi": {}}, "q_tilde"),
    Kind("kernel, tanh, pair", {**TANH, **KERNEL}, PAIR, (32, 64, 128), 3000, {"ntk": {}, "fim": {}}, "ntk"),
    Kind("kernel, relu, one input", {**RELU, **KERNEL}, SINGLE, (32, 64), 3000, {"ntk": {}}, "ntk"),
    Kind("kernel near the cut, c0 = 0.1", NEAR, {**PAIR, "c0": 0.1}, (50, 100, 200), 20_000, {"ntk": {}}, "ntk"),
    Kind("kernel near the cut, c0 = 0.3", NEAR, {**PAIR, "c0": 0.3}, (50, 100, 200), 20_000, {"ntk": {}}, "ntk"),
    Kind("Fisher matrix, 20 fresh inputs", FISHER, FRESH, (32, 64, 128), 400, {"fim": {}}, "fim_lambda_max"),
    Kind("Fisher matrix, 12 vectors of R^20", FISHER, VECTORS, (32, 64, 128), 800, {"fim": {}}, "fim_lambda_max"),
    Kind("Fisher matrix, two outputs", TWO, PAIR, (32, 64, 128), 400, {"ntk": {"blocks": "all"}, "fim": {}}, "ntk"),
    Kind("Jacobian, relu, orthogonal", SHARP, SINGLE, (30, 60), 300, *LAST),
    Kind("Jacobian, tanh, limits", SHORT, FIXED, (30, 60, 120), 150, *LAST, ("free-probability",)),
    Kind("Jacobian, tanh, a1 and v1", SHORT, FIXED, (32, 64, 96), 500, *LAST),
)


def spoil(tree: Any, observable: str, share: float) -> Any:
    """The tree with all values of an observable larger by a share."""
    changed = tree.copy(deep=True)
    for group in changed.children.values():
        if observable in group.ds.data_vars:
            group[observable][...] = group[observable] * (1.0 + share)
    return changed


def of_kind(kind: Kind, studies: int) -> Row:
    """A row of the table."""
    predictions = Theory(), Laws(kind.spectra)
    p_values: list[float] = []
    seen: list[bool] = []
    shares: list[float] = []
    dof = []
    for seed in range(1, studies + 1):
        tree = kind.tree(seed)
        summary = judge(tree, predictions=predictions).summary
        p_values.append(float(summary["p_value"]))
        dof.append(int(summary["dof"]))
        if seed > SPOILED:
            continue
        for row in summary["power"]:
            if (row["observable"], row["of"]) == (kind.spoiled, "values"):
                shares.append(float(row["relative"]))
                wrong = judge(spoil(tree, kind.spoiled, shares[-1]), predictions=predictions)
                seen.append(bool(wrong.verdict.p_value < LEVEL))
    p: NDArray[np.float64] = np.array(p_values)
    p = p[np.isfinite(p)]
    return {
        "kind": kind.title,
        "studies": p.size,
        "dof": int(np.median(dof)),
        "ks": float(stats.kstest(p, "uniform").pvalue),
        "mean": float(p.mean()),
        "below": float(np.mean(p < LEVEL)),
        "observable": kind.spoiled,
        "share": float(np.median(shares)) if shares else np.nan,
        "seen": float(np.mean(seen)) if seen else np.nan,
        "p": p,
    }


def main(arguments: list[str]) -> None:
    studies = int(arguments[0]) if arguments else STUDIES
    print("| kind | studies | dof | KS p | mean p | p < 0.01 | values of | seen with 90 % | seen in fact |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    every = []
    started = time.process_time()
    for kind in KINDS:
        row = of_kind(kind, studies)
        every.append(row["p"])
        print(
            f"| {row['kind']} | {row['studies']} | {row['dof']} | {row['ks']:.2g} | {row['mean']:.2f} | "
            f"{100 * row['below']:.1f} % | `{row['observable']}` | {100 * row['share']:.2g} % | {row['seen']:.2f} |",
            flush=True,
        )
    p = np.concatenate(every)
    print(
        f"| all | {p.size} | | {stats.kstest(p, 'uniform').pvalue:.2g} | {p.mean():.2f} | "
        f"{100 * np.mean(p < LEVEL):.2f} % | | | |"
    )
    print(f"\n{time.process_time() - started:.0f} s of CPU", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
