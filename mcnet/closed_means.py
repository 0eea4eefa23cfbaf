"""Closed Gaussian means of activations: E phi^2, E phi'^2, E phi phi and E phi' phi' as functions of covariances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Closed = Mapping[str, Callable[..., Any]]

LINEAR: Closed = {}
RELU: Closed = {}
LEAKY_RELU: Closed = {}
SHIFTED_RELU: Closed = {}
ERF: Closed = {}
HARD_TANH: Closed = {}
GELU: Closed = {}
SIN: Closed = {}
