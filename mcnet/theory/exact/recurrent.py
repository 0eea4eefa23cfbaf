"""Linear recurrent networks at any finite width: lengths with one Gaussian matrix, Lyapunov exponents with many."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from math import log

from scipy.special import digamma, polygamma

MOST_STEPS = 7  # 135 135 pairings; each further step has 2 t + 1 times as many


def tied_linear_length(sigma_w2: float, width: int, steps: int) -> float:
    """``E |W^t x|^2/|x|^2`` for one Gaussian matrix W, entries of variance sigma_w2/M, applied t times.

    Parameters
    ----------
    sigma_w2 : float
    width : int
        M.
    steps : int
        t, 0 to 7.

    Raises
    ------
    ValueError
        If there are more than 7 steps: the number of terms grows as (2 t - 1)!!.

    Notes
    -----
    Wick's theorem for ``E Tr (W^T)^t W^t``: every pairing of the 2 t factors identifies indices and gives a power of M.
    At sigma_w2 = 1: 1, 1 + 2/M^2, 1 + 10/M^2 + 4/M^3, ... With a new matrix at every step the mean is sigma_w2^t. What
    tying adds is of order 1/M^2 at fixed t, but grows with t: use infinite-width results for t far below M only.
    """
    if not 0 <= steps <= MOST_STEPS:
        raise ValueError(f"steps = {steps}: 0 to {MOST_STEPS}, since the number of terms grows as (2 steps - 1)!!")
    if width < 1:
        raise ValueError(f"width = {width}: at least 1")
    powers = _powers(steps)
    return sigma_w2**steps * sum(count * float(width) ** power for power, count in powers)


@lru_cache(maxsize=MOST_STEPS + 1)
def _powers(steps: int) -> tuple[tuple[int, int], ...]:
    """Powers of M and how many pairings of the factors of Tr (W^T)^t W^t/M^(t + 1) have them."""
    if not steps:
        return ((0, 1),)
    size = 2 * steps
    # factor k of the cyclic trace has the indices k and k + 1; of W^T the second is the row
    row = [k + 1 if k < steps else k for k in range(size)]
    column = [k if k < steps else (k + 1) % size for k in range(size)]
    counts: Counter[int] = Counter()

    def find(parent: list[int], index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    def pair(left: tuple[int, ...], parent: list[int], components: int) -> None:
        if not left:
            counts[components - steps - 1] += 1
            return
        first, rest = left[0], left[1:]
        for other in rest:
            joined, number = list(parent), components
            for a, b in ((row[first], row[other]), (column[first], column[other])):
                root, second = find(joined, a), find(joined, b)
                if root != second:
                    joined[second] = root
                    number -= 1
            pair(tuple(k for k in rest if k != other), joined, number)

    pair(tuple(range(size)), list(range(size)), size)
    return tuple(sorted(counts.items()))


def linear_lyapunov(sigma_w2: float, width: int, steps: int, number: int = 1) -> tuple[float, float]:
    """Mean and variance of a finite-time Lyapunov exponent of a product of independent Gaussian matrices.

    Parameters
    ----------
    sigma_w2 : float
        Variance of the entries times the width.
    width : int
        M.
    steps : int
        t, number of matrices.
    number : int
        k, from 1: the exponents are (1/t) ln R_kk of the QR decomposition of the product times a random frame.

    Returns
    -------
    mean, variance : float

    Raises
    ------
    ValueError
        If there is no such exponent.

    Notes
    -----
    The part of W v_k outside the images of the k - 1 directions before it has the squared length
    ``sigma_w2/M chi^2_(M - k + 1)``, independent in all steps, so that at every t

        E lambda_k = [ln(2 sigma_w2/M) + psi((M - k + 1)/2)]/2 ,    Var lambda_k = psi'((M - k + 1)/2)/(4 t) .

    For k = 1 and large M the mean is ``ln(sigma_w2)/2 - 1/(2 M)``.

    References
    ----------
    Newman 1986, Commun. Math. Phys. 103, 121.
    """
    if not 1 <= number <= width or steps < 1:
        raise ValueError(f"exponent {number} of {width} after {steps} steps: number from 1 to width, steps from 1")
    half = (width - number + 1) / 2.0
    mean = 0.5 * (log(2.0 * sigma_w2 / width) + float(digamma(half)))
    return mean, float(polygamma(1, half)) / (4.0 * steps)
