"""Who predicts an observable at a point, to which order, and why not; ``register`` adds a predictor."""

from mcnet.predictions import programs as _programs  # noqa: F401, I001 (those that come later are asked first)
from mcnet.predictions import dense as _dense  # noqa: F401
from mcnet.predictions import dynamics as _dynamics  # noqa: F401
from mcnet.predictions import tokens as _tokens  # noqa: F401
from mcnet.predictions import normalization as _normalization  # noqa: F401
from mcnet.predictions import softmax_fisher as _softmax_fisher  # noqa: F401
from mcnet.predictions import seen as _seen  # noqa: F401
from mcnet.predictions import jacobian as _jacobian  # noqa: F401
from mcnet.predictions import uniform as _uniform  # noqa: F401
from mcnet.predictions.ensemble import Ensemble
from mcnet.predictions.registry import Curve, Unknown, curve, predict, register

__all__ = ["Curve", "Ensemble", "Unknown", "curve", "predict", "register"]
