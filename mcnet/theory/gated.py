"""Gated recurrent networks at infinite width, with new matrices at every step (untied): closed forms.

Gates are logistic functions of ``e = W h + V z + b + mu``; z is the sequence, Gaussian and new at every step. Real
gated networks use the same matrices at all steps (tied), which changes lengths and gradients at the leading order:
there h persists, and gates at successive steps are correlated. These formulas must not be compared with tied networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet.theory import gaussian
from mcnet.theory.gaussian import Floats

Biases = float | Mapping[str, float]


class Gated(NamedTuple):
    """Signal and gradients of T inputs, step by step.

    Attributes
    ----------
    q_hat : ndarray, shape (steps + 1, T, T)
        ``h_t(a) . h_t(b) / M``, the first state included.
    q : ndarray, shape (steps, T, T)
        Covariance of the pre-activations of the gates.
    chi : ndarray, shape (steps, T, T)
        Factor of the inner products of gradients over one step back; the diagonal is ``E Tr J J^T / M`` of the step.
    jacobian : ndarray, shape (steps, T)
        ``E Tr (J J^T)^2 / M`` of each step by itself, for T inputs whose first state is Gaussian.
    """

    q_hat: Floats
    q: Floats
    chi: Floats
    jacobian: Floats


class Cell(NamedTuple):
    """One step of an LSTM.

    Attributes
    ----------
    q : float
        Variance of the pre-activations of gates and candidate.
    cell : float
        Variance of the new cell state.
    forget, input, output : float
        Mean squares of the gates.
    """

    q: float
    cell: float
    forget: float
    input: float
    output: float


def minimal_rnn(
    sigma_w2: float,
    sigma_v2: float,
    sigma_b2: float,
    gate_bias: float,
    gram: ArrayLike,
    sequence: ArrayLike,
    steps: int,
) -> Gated:
    """``h' = u h + (1 - u) z``, ``u = sigmoid(W h + V z + b + mu)``, untied.

    Parameters
    ----------
    sigma_w2, sigma_v2, sigma_b2 : float
        Variances of W and V (times width) and of b.
    gate_bias : float
        mu.
    gram : array_like, shape (T, T)
        ``h_0(a) . h_0(b) / M``.
    sequence : float or array_like, shape (T, T)
        Covariance R of the entries of z for two inputs; a number: all inputs see the same sequence.
    steps : int

    Returns
    -------
    Gated

    Raises
    ------
    ValueError
        If a variance is negative.

    Notes
    -----
    With Gaussian means at ``q = sigma_w2 Q + sigma_v2 R + sigma_b2``, s = u':

        Q'  = <u_a u_b> Q + <(1 - u_a)(1 - u_b)> R ,    chi = <u_a u_b> + sigma_w2 <s_a s_b> (Q + R) .

    J = D_u + D_g W with g = s (h - z), hence

        E Tr (J J^T)^2/M = <u^4> + 2 sigma_w2 (<u^2 g^2> + <u^2><g^2>) + sigma_w2^2 (<g^4> + <g^2>^2) ,
        <h^4>' = <u^4><h^4> + 6 <u^2 (1 - u)^2> Q R + 3 <(1 - u)^4> R^2 .

    Accuracy: the limit M -> infinity.

    References
    ----------
    Chen, Pennington, Schoenholz 2018, arXiv:1806.05394.
    """
    _check(sigma_w2=sigma_w2, sigma_v2=sigma_v2, sigma_b2=sigma_b2)
    h2 = np.atleast_2d(np.asarray(gram, dtype=np.float64))
    r = np.broadcast_to(np.asarray(sequence, dtype=np.float64), h2.shape)
    r1, h4 = np.diagonal(r), 3.0 * np.diagonal(h2) ** 2
    q_hat, q, chi, jacobian = [h2], [], [], []
    for _ in range(steps):
        covariance = sigma_w2 * h2 + sigma_v2 * r + sigma_b2
        gate = _gate(covariance, gate_bias)
        one = np.diagonal(h2)
        g2 = gate.slope2 * (one + r1)
        g4 = gate.slope4 * (h4 + 6.0 * one * r1 + 3.0 * r1**2)
        u2g2 = gate.open2_slope2 * (one + r1)
        jacobian.append(gate.open4 + 2.0 * sigma_w2 * (u2g2 + gate.open2 * g2) + sigma_w2**2 * (g4 + g2**2))
        chi.append(gate.open_pair + sigma_w2 * gate.slope_pair * (h2 + r))
        h4 = gate.open4 * h4 + 6.0 * gate.both2 * one * r1 + 3.0 * gate.shut4 * r1**2
        h2 = gate.open_pair * h2 + gate.shut_pair * r
        q.append(covariance)
        q_hat.append(h2)
    return Gated(np.array(q_hat), np.array(q), np.array(chi), np.array(jacobian))


def gru(
    sigma_w2: float,
    sigma_v2: float,
    sigma_b2: float,
    gate_bias: Biases,
    gram: ArrayLike,
    sequence: ArrayLike,
    steps: int,
) -> Gated:
    """``h' = u h + (1 - u) tanh(W_h (r h) + V_h z + b_h)`` with the gates u (update) and r (reset), untied.

    Parameters as in :func:`minimal_rnn`; all three groups of matrices have the same variances. ``gate_bias`` is a
    number or a table with the keys "update" and "reset" (missing: 0). ``q`` is the covariance of the gates; the
    candidate has ``sigma_w2 <r_a r_b> Q + sigma_v2 R + sigma_b2``.

    Notes
    -----
    With t = tanh, p = tanh' at the covariance of the candidate and s the slopes of the gates:

        Q'  = <u_a u_b> Q + <(1 - u_a)(1 - u_b)> <t_a t_b> ,
        chi = <u_a u_b> + sigma_w2 <s_u s_u> (Q + <t t>) + sigma_w2 <(1-u)(1-u)> <p p> nu ,
        nu  = <r r> + sigma_w2 <s_r s_r> Q .

    Accuracy: the limit M -> infinity.

    References
    ----------
    Chen, Pennington, Schoenholz 2018, arXiv:1806.05394.
    """
    _check(sigma_w2=sigma_w2, sigma_v2=sigma_v2, sigma_b2=sigma_b2)
    bias = _biases(gate_bias, ("update", "reset"))
    h2 = np.atleast_2d(np.asarray(gram, dtype=np.float64))
    z = np.broadcast_to(np.asarray(sequence, dtype=np.float64), h2.shape)
    w, h4 = sigma_w2, 3.0 * np.diagonal(h2) ** 2
    q_hat, q, chi, jacobian = [h2], [], [], []
    for _ in range(steps):
        covariance = w * h2 + sigma_v2 * z + sigma_b2
        u, r = _gate(covariance, bias["update"]), _gate(covariance, bias["reset"])
        inner = w * r.open_pair * h2 + sigma_v2 * z + sigma_b2
        tt, pp = _pair_means(inner, np.tanh), _pair_means(inner, _tanh_slope)
        t4, p4, t2p2 = _means(
            inner, _fourth, lambda e: _tanh_slope(e) ** 4, lambda e: (np.tanh(e) * _tanh_slope(e)) ** 2
        )
        one, t2, p2 = np.diagonal(h2), np.diagonal(tt), np.diagonal(pp)
        nu_pair = r.open_pair + w * r.slope_pair * h2
        chi.append(u.open_pair + w * u.slope_pair * (h2 + tt) + w * u.shut_pair * pp * nu_pair)
        # J = D_u + D_a W_u + D_b W_h (D_r + D_c W_r) with a = s_u (h - t), b = (1 - u) p, c = h s_r
        nu = np.diagonal(nu_pair)
        c2, c4 = r.slope2 * one, r.slope4 * h4
        fourth = r.open4 + 2.0 * w * (r.open2_slope2 * one + r.open2 * c2) + w**2 * (c4 + c2**2)
        a2, b2 = u.slope2 * (one + t2), u.shut2 * p2
        a4, b4 = u.slope4 * (h4 + 6.0 * one * t2 + t4), u.shut4 * p4
        a2b2 = u.shut2_slope2 * (one * p2 + t2p2)
        u2a2, u2b2 = u.open2_slope2 * (one + t2), u.both2 * p2
        jacobian.append(
            u.open4
            + 2.0 * w * (u2a2 + nu * u2b2)
            + 2.0 * w * u.open2 * a2
            + 2.0 * w * b2 * u.open2 * nu
            + w**2 * (a4 + 2.0 * nu * a2b2 + nu**2 * b4)
            + w**2 * (a2**2 + 2.0 * nu * a2 * b2 + b2**2 * fourth)
        )
        h4 = u.open4 * h4 + 6.0 * u.both2 * one * t2 + u.shut4 * t4
        h2 = u.open_pair * h2 + u.shut_pair * tt
        q.append(covariance)
        q_hat.append(h2)
    return Gated(np.array(q_hat), np.array(q), np.array(chi), np.array(jacobian))


def lstm_cell(
    sigma_w2: float, sigma_v2: float, sigma_b2: float, gate_bias: Biases, q_hat: float, cell: float, sequence: float
) -> Cell:
    """``c' = f c + i tanh(e_c)``: variance of the cell state after one step, untied.

    Parameters
    ----------
    sigma_w2, sigma_v2, sigma_b2 : float
    gate_bias : float or mapping
        A number, or a table with the keys "forget", "input", "output" (missing: 0).
    q_hat : float
        ``|h|^2/M`` before the step.
    cell : float
        ``|c|^2/M`` before the step.
    sequence : float
        Variance of the entries of z.

    Notes
    -----
    ``cell' = <f^2> cell + <i^2> <tanh^2>`` at ``q = sigma_w2 q_hat + sigma_v2 R + sigma_b2``. The new
    ``q_hat = <o^2> E tanh(c')^2`` has no closed form, since c' is not Gaussian.

    References
    ----------
    Gilboa et al. 2019, arXiv:1901.08987; Chen, Pennington, Schoenholz 2018, arXiv:1806.05394.
    """
    _check(sigma_w2=sigma_w2, sigma_v2=sigma_v2, sigma_b2=sigma_b2, q_hat=q_hat, cell=cell, sequence=sequence)
    bias = _biases(gate_bias, ("forget", "input", "output"))
    q = sigma_w2 * q_hat + sigma_v2 * sequence + sigma_b2
    forget, enter, out = (float(_gate(np.array([[q]]), bias[name]).open2[0]) for name in ("forget", "input", "output"))
    candidate = float(gaussian.square("tanh", q))
    return Cell(q, forget * cell + enter * candidate, forget, enter, out)


class _Gate(NamedTuple):
    """Means of a gate u, of 1 - u and of its slope: pairs (T, T) and single inputs (T,)."""

    open_pair: Floats
    shut_pair: Floats
    slope_pair: Floats
    open2: Floats
    shut2: Floats
    slope2: Floats
    open4: Floats
    shut4: Floats
    slope4: Floats
    both2: Floats
    open2_slope2: Floats
    shut2_slope2: Floats


def _gate(covariance: Floats, bias: float) -> _Gate:
    def u(e: Floats) -> Floats:
        return 0.5 + 0.5 * np.tanh(0.5 * (e + bias))

    def s(e: Floats) -> Floats:
        return u(e) * (1.0 - u(e))

    pairs = [_pair_means(covariance, f) for f in (u, lambda e: 1.0 - u(e), s)]
    fourths = _means(
        covariance,
        lambda e: u(e) ** 4,
        lambda e: (1.0 - u(e)) ** 4,
        lambda e: s(e) ** 4,
        lambda e: s(e) ** 2,  # u^2 (1 - u)^2, the slope being u (1 - u)
        lambda e: (u(e) * s(e)) ** 2,
        lambda e: ((1.0 - u(e)) * s(e)) ** 2,
    )
    return _Gate(*pairs, *(np.diagonal(pair) for pair in pairs), *fourths)


def _pair_means(covariance: Floats, f: Callable[[Floats], Floats]) -> Floats:
    """E f(e_a) f(e_b) for all pairs."""
    result = np.empty_like(covariance)
    np.fill_diagonal(result, _means(covariance, lambda e: f(e) ** 2)[0])
    for a, b in zip(*np.triu_indices(len(covariance), 1), strict=True):
        block = covariance[np.ix_([a, b], [a, b])]
        result[a, b] = result[b, a] = gaussian.pair_mean(lambda x, y: f(x) * f(y), block)
    return result


def _means(covariance: Floats, *functions: Callable[[Floats], Floats]) -> Floats:
    """E f(e_a) for every function and input, shape (functions, T)."""
    rules = [gaussian.nodes(q) for q in np.diagonal(covariance)]
    return np.array([[weights @ f(e) for e, weights in rules] for f in functions])


def _tanh_slope(e: Floats) -> Floats:
    return np.asarray(1.0 - np.tanh(e) ** 2)


def _fourth(e: Floats) -> Floats:
    return np.asarray(np.tanh(e) ** 4)


def _biases(gate_bias: Biases, gates: tuple[str, ...]) -> dict[str, float]:
    if not isinstance(gate_bias, Mapping):
        return dict.fromkeys(gates, float(gate_bias))
    unknown = [name for name in gate_bias if name not in gates]
    if unknown:
        raise ValueError(f'gate_bias has no gate "{unknown[0]}" (gates: {", ".join(gates)})')
    return {name: float(gate_bias.get(name, 0.0)) for name in gates}


def _check(**variances: float) -> None:
    for name, value in variances.items():
        if not value >= 0.0:
            raise ValueError(f"{name} = {value}: a variance must be >= 0")
