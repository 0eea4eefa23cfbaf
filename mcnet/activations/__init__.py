"""Activations: one table, each written once as an expression; registering a new one."""

from mcnet.activations.table import Activation, Elementwise, get, names, parameters, register

__all__ = ["Activation", "Elementwise", "get", "names", "parameters", "register"]
