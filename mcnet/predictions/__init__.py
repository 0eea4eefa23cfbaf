"""Who predicts an observable at a point, to which order, and why not; ``register`` adds a predictor."""

from mcnet.predictions import programs as _programs  # noqa: F401 (it registers)
from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.registry import Curve, Unknown, curve, predict, register

__all__ = ["Curve", "Ensemble", "Unknown", "curve", "predict", "register"]
