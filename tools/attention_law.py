"""Attention without weights against attention with all matrices built: two ensembles of a million networks each.

    python -m tools.attention_law [--networks N] [--only NUMBERS] [--mutants] [--precision float64]

Of every setting: the first block's scores (logarithms of weights over that of the first token), its weights of all
heads, the products of all rows of what the block gives, and products of weights and of these. The ensembles are
compared in the moments of order 1 to 4, one by one (z) and all together (chi-square, whitened with their covariance),
and by the two-sample Kolmogorov-Smirnov test. Not part of the suite: minutes to hours.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, ks_2samp

from mcnet import activations, architectures, streams
from mcnet.backend import get_backend
from mcnet.programs import sampled
from mcnet.weights import bartlett
from mcnet.weights.laws import Ensemble

BATCH = 4000
ORDERS = (1, 2, 3, 4)
Floats = NDArray[np.float64]


class Setting(NamedTuple):
    """A transformer of one block: tokens, inputs, heads, units of a head, width, scale of the scores, normalisation."""

    tokens: int
    inputs: int
    heads: int
    head_size: int
    width: int
    scale: str = "1/sqrt"
    normalization: str = "none"
    sigma_w2: float = 1.5

    @property
    def label(self) -> str:
        rows = self.tokens * self.inputs
        return (
            f"{self.tokens} x {self.inputs} = {rows} | {self.head_size} | {self.heads} | {self.width} | {self.scale} | "
            f"{self.normalization}"
        )


SETTINGS = (
    Setting(3, 1, 1, 2, 6),
    Setting(3, 1, 1, 3, 6),
    Setting(3, 1, 1, 4, 6),
    Setting(3, 1, 2, 8, 6),
    Setting(2, 2, 2, 5, 6),
    Setting(3, 1, 2, 5, 6, "1/n", "post-layer", 3.0),
    Setting(2, 1, 3, 32, 6, "1/sqrt", "pre-layer", 1.0),
)

MUTANTS = ("a degree of freedom less", "1 % of the degrees less", "heads share their chi variables")


def columns(setting: Setting, sampler: str, seed: int, networks: int, precision: str) -> Iterator[Floats]:
    """What is compared, (batch, columns), batch by batch."""
    given: dict[str, Any] = {"tokens": setting.tokens, "heads": setting.heads, "head_size": setting.head_size}
    given |= {"softmax_scale": setting.scale, "attention": 1.0, "feedforward": 1.0}
    common: dict[str, Any] = {
        "weights": "gaussian",
        "readout": "gaussian",
        "architecture": "transformer",
        "width": setting.width,
    }
    common |= {"depth": 1, "outputs": None, "sigma_w2": setting.sigma_w2, "sigma_b2": 0.0}
    common |= {"activation": activations.get("tanh"), "normalization": setting.normalization, "epsilon": 0.0}
    found = architectures.lookup("transformer")
    p = found.parameters(common, given)
    x = np.random.default_rng(1).normal(size=(1, setting.inputs, setting.tokens, setting.width))
    x[:, 1:] -= x[:, :1]
    for start in range(0, networks, BATCH):
        weights: list[Any] = []
        who = Ensemble(get_backend("cpu"), streams.seed_key(seed), start, min(start + BATCH, networks), precision)
        trace = sampled.run(
            found.network, p, found.laws_of(p), x, ("token",), who, sampler, backward=False, attend=weights.append
        )
        gram = trace.gram(("h", 1))
        upper = np.triu_indices(gram.shape[1])
        products = gram[:, upper[0], upper[1]]
        attended = np.concatenate([part[..., 1:].reshape(len(part), -1) for part in weights], axis=1)
        scores = np.concatenate(
            [np.log(part[..., 1:] / part[..., :1]).reshape(len(part), -1) for part in weights], axis=1
        )
        pairs = [attended[:, :1] * attended[:, i : i + 1] for i in range(1, attended.shape[1])]
        joint = [attended[:, :1] * products[:, :1], scores[:, :1] * products[:, 1:2], scores[:, :1] * scores[:, -1:]]
        yield np.concatenate([scores, attended, products, *pairs, *joint], axis=1)


class Compared(NamedTuple):
    """How two ensembles agree."""

    columns: int
    largest: tuple[float, ...]
    positive: float
    whitened: float
    freedom: int
    p: float
    smallest_ks: float


def compared(asked: Floats, built: Floats) -> Compared:
    """Ensembles (N, columns)."""
    scale = built.std(axis=0)
    size = asked.shape[1] * len(ORDERS)
    means, covariance = [], np.zeros((size, size))
    for sample in (asked, built):
        total, squares = np.zeros(size), np.zeros((size, size))
        for start in range(0, len(sample), BATCH):
            part = sample[start : start + BATCH] / scale
            powers = np.concatenate([part**order for order in ORDERS], axis=1)
            total += powers.sum(axis=0)
            squares += powers.T @ powers
        means.append(total / len(sample))
        covariance += (squares / len(sample) - np.outer(means[-1], means[-1])) / len(sample)
    difference = means[0] - means[1]
    errors = np.sqrt(np.diag(covariance))
    z = difference / errors
    values, vectors = np.linalg.eigh(covariance / np.outer(errors, errors))
    there = values > 1e-7 * values[-1]  # the moments of bounded numbers are all but dependent
    white = (vectors.T @ z)[there] ** 2 / values[there]
    ks = [float(ks_2samp(a, b, method="asymp").pvalue) for a, b in zip(asked.T, built.T, strict=True)]
    freedom = int(there.sum())
    largest = tuple(float(np.abs(part).max()) for part in np.split(z, len(ORDERS)))
    p = float(chi2(freedom).sf(white.sum()))
    return Compared(asked.shape[1], largest, float((z > 0).mean()), float(white.sum()), freedom, p, min(ks))


def sample(setting: Setting, sampler: str, seed: int, networks: int, precision: str) -> Floats:
    return np.concatenate(list(columns(setting, sampler, seed, networks, precision)))


def mutated(name: str | None) -> Any:
    """The chi variables of a mutant; None: those of mcnet."""
    chi = bartlett.chi
    if name == MUTANTS[0]:
        return lambda ensemble, layer, degrees: chi(ensemble, layer, np.maximum(degrees - 1, 2))
    if name == MUTANTS[1]:
        return lambda ensemble, layer, degrees: chi(ensemble, layer, 0.99 * degrees)
    if name == MUTANTS[2]:
        return lambda ensemble, layer, degrees: chi(ensemble, 0, degrees)
    return chi


def row(setting: Setting, found: Compared) -> str:
    largest = ", ".join(f"{z:.1f}" for z in found.largest)
    return (
        f"| {setting.label} | {found.columns} | {largest} | {100 * found.positive:.0f} % | "
        f"{found.whitened:.0f} / {found.freedom} | {found.p:.2g} | {found.smallest_ks:.2g} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=1_000_000)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of settings, from 0")
    parser.add_argument("--mutants", action="store_true", help="what must not agree")
    parser.add_argument("--precision", choices=("mixed", "float64"), default="mixed")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    numbers = range(len(SETTINGS)) if given.only is None else given.only
    print("| rows | n | heads | M | scale | norm. | columns | z, orders 1-4 | z > 0 | chi-square | p | least KS p |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    kept = bartlett.chi
    for number, mutant in itertools.product(numbers, MUTANTS if given.mutants else (None,)):
        setting, seed = SETTINGS[number], 2 * given.seed + 100 * number
        bartlett.chi = mutated(mutant)
        asked = sample(setting, "conditioned", seed, given.networks, given.precision)
        bartlett.chi = kept
        built = sample(setting, "explicit", seed + 1, given.networks, given.precision)
        print(row(setting, compared(asked, built)) + (f" {mutant}" if mutant else ""), flush=True)


if __name__ == "__main__":
    main()
