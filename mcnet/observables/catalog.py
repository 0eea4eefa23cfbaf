"""All observables by name. A new one: its own module, and its module's name here."""

from __future__ import annotations

from mcnet.observables import gradient, jacobian, signal, tangent
from mcnet.observables.observable import Observable

OBSERVABLES: dict[str, Observable] = {
    name: observable
    for module in (signal, gradient, tangent, jacobian)
    for name, observable in module.OBSERVABLES.items()
}
