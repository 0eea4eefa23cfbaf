"""Fisher information at infinite width: mean, second moment and largest eigenvalue.

    F = (1/T) sum_t sum_k grad f_k(t) grad f_k(t)^T

of a network of ``depth`` hidden layers of width M, M_0 = M inputs, C linear outputs and T inputs of equal length and
equal mutual overlap; P = depth M^2 parameters to leading order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcnet import activations
from mcnet.theory import mean_field
from mcnet.theory.gaussian import ActivationLike


@dataclass(frozen=True)
class EigenvalueStatistics:
    """Statistics of the eigenvalues of the Fisher information, to leading order in 1/M.

    Attributes
    ----------
    kappa_1, kappa_2 : float
        Order parameters: ``(1/depth) sum_l q_tilde^l q_hat^(l-1)`` for one input, and for two different ones.
    mean : float
        Mean of all P eigenvalues, kappa_1 C / M.
    second_moment : float
        Mean of their squares.
    lambda_max : float
        Largest eigenvalue, C-fold degenerate as M -> infinity; with the bias terms if biases are trained.
    lambda_rest : float
        Each of the other C (T - 1) eigenvalues of order M/T, for T of order 1.
    learning_rate_bound : float
        2 / lambda_max, for the loss (1/2T) sum |f - y|^2.
    """

    kappa_1: float
    kappa_2: float
    mean: float
    second_moment: float
    lambda_max: float
    lambda_rest: float
    learning_rate_bound: float


@dataclass(frozen=True)
class MeanSubtracted:
    """Fisher information of the outputs with their mean over the inputs subtracted, leading terms for T of order M.

    Attributes
    ----------
    trace : float
        C (T - 1)/T [depth M (kappa_1 - kappa_2) + beta_1 - beta_2].
    lambda_max_lower : float
        The mean of its non-zero eigenvalues, rho depth (kappa_1 - kappa_2) with rho = M/T.
    lambda_max_upper : float
        Root of the trace of its square, without the contributions of relative order one that fluctuations of the
        off-diagonal entries add: the measured root is larger by a factor 1.2 to 1.3 at rho = 1.
    """

    trace: float
    lambda_max_lower: float
    lambda_max_upper: float


@dataclass(frozen=True)
class _Orders:
    kappa_1: float
    kappa_2: float
    beta_1: float
    beta_2: float


def eigenvalue_statistics(
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    width: int,
    inputs: int,
    outputs: int,
    q_hat_0: float,
    q_hat_0_st: float,
    train_biases: bool,
) -> EigenvalueStatistics:
    """Statistics of the eigenvalues of the Fisher information of a wide network.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance.
    depth, width : int
        Number of hidden layers and their width M; the input dimension is M too.
    inputs, outputs : int
        T and C.
    q_hat_0, q_hat_0_st : float
        |x|^2 / M of each input, x . x' / M of two different ones.
    train_biases : bool
        Adds the bias terms, of relative order 1/M, to the eigenvalues of order M (``lambda_max``, ``lambda_rest``).

    Raises
    ------
    ValueError
        If a number is out of range, or there is only one input, of which kappa_2 has no meaning.

    Notes
    -----
    With L = depth + 1 weight layers, q_tilde^L = 1 and P = depth M^2,

        kappa_1 = (1/depth) sum_(l=1..L) q_tilde^l q_hat^(l-1) ,    kappa_2 the same of two different inputs
        mean = kappa_1 C / M ,     second_moment = depth C ((T-1)/T kappa_2^2 + kappa_1^2/T)
        lambda_max = [(T-1) (depth kappa_2 M + beta_2) + depth kappa_1 M + beta_1] / T ,     beta_i = sum_l q_tilde^l_i
        lambda_rest = [depth (kappa_1 - kappa_2) M + beta_1 - beta_2] / T

    Accuracy: leading order in 1/M. At finite M the C largest eigenvalues split by a relative M^(-1/2); their mean is
    what ``lambda_max`` predicts.

    References
    ----------
    Karakida, Akaho, Amari 2019, AISTATS, arXiv:1806.01316.
    """
    order = _orders(activation, sigma_w2, sigma_b2, depth, width, inputs, outputs, q_hat_0, q_hat_0_st)
    one, two = order.kappa_1, order.kappa_2
    of_one, of_two = depth * width * one, depth * width * two
    if train_biases:
        of_one, of_two = of_one + order.beta_1, of_two + order.beta_2
    lambda_max = ((inputs - 1) * of_two + of_one) / inputs
    return EigenvalueStatistics(
        kappa_1=one,
        kappa_2=two,
        mean=one * outputs / width,
        second_moment=depth * outputs * ((inputs - 1) * two**2 + one**2) / inputs,
        lambda_max=lambda_max,
        lambda_rest=(of_one - of_two) / inputs,
        learning_rate_bound=2.0 / lambda_max if lambda_max > 0.0 else np.inf,
    )


def mean_subtracted(
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    width: int,
    inputs: int,
    outputs: int,
    q_hat_0: float,
    q_hat_0_st: float,
    train_biases: bool,
) -> MeanSubtracted:
    """Bounds on the Fisher information when the mean over the inputs is subtracted in the last layer.

    Parameters as in :func:`eigenvalue_statistics`.

    Notes
    -----
    For T -> infinity at fixed rho = M/T the large eigenvalue is gone:

        rho depth (kappa_1 - kappa_2) + c_1 <= lambda_max <= sqrt((C depth^2 rho (kappa_1 - kappa_2)^2 + c_2) M)

    with c_1, c_2 >= 0 that are not known in closed form and are left out here.

    References
    ----------
    Karakida, Akaho, Amari 2019, NeurIPS, arXiv:1906.02926.
    """
    order = _orders(activation, sigma_w2, sigma_b2, depth, width, inputs, outputs, q_hat_0, q_hat_0_st)
    gap = depth * (order.kappa_1 - order.kappa_2)
    biases = order.beta_1 - order.beta_2 if train_biases else 0.0
    return MeanSubtracted(
        trace=outputs * (inputs - 1) / inputs * (gap * width + biases),
        lambda_max_lower=gap * width / inputs,
        lambda_max_upper=float(np.sqrt(outputs / inputs) * gap * width),
    )


def _orders(
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    width: int,
    inputs: int,
    outputs: int,
    q_hat_0: float,
    q_hat_0_st: float,
) -> _Orders:
    for name, count in (("depth", depth), ("width", width), ("inputs", inputs), ("outputs", outputs)):
        if count < 1:
            raise ValueError(f"{name} must be >= 1, got {count}")
    if inputs == 1:
        raise ValueError("inputs must be >= 2: kappa_2 is the overlap of two different inputs, and there is only one")
    if not (sigma_w2 >= 0.0 and sigma_b2 >= 0.0 and q_hat_0 >= 0.0 and abs(q_hat_0_st) <= q_hat_0):
        raise ValueError(
            "sigma_w2, sigma_b2 and q_hat_0 must be >= 0 and |q_hat_0_st| <= q_hat_0, got "
            f"{sigma_w2}, {sigma_b2}, {q_hat_0} and {q_hat_0_st}"
        )
    phi = activations.get(activation)
    gram = np.array([[q_hat_0, q_hat_0_st], [q_hat_0_st, q_hat_0]])
    q_hat = mean_field.covariances(phi, sigma_w2, sigma_b2, gram, depth).q_hat  # (L, 2, 2)
    q_tilde = mean_field.gradient_covariances(phi, sigma_w2, sigma_b2, gram, depth, readout=True)
    q_tilde = np.concatenate([q_tilde, np.ones((1, 2, 2))])  # (L, 2, 2)
    kappa = (q_tilde * q_hat).sum(axis=0) / depth
    beta = q_tilde.sum(axis=0)
    return _Orders(float(kappa[0, 0]), float(kappa[0, 1]), float(beta[0, 0]), float(beta[0, 1]))
