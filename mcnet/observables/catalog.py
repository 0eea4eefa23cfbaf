"""All observables by name. A new one: its own module, and its module's name here."""

from __future__ import annotations

from mcnet.observables import conditional_fisher, conjugate_kernel, gradient, jacobian, signal, tangent
from mcnet.observables.observable import Observable

OBSERVABLES: dict[str, Observable] = {
    name: observable
    for module in (signal, gradient, tangent, jacobian, conditional_fisher, conjugate_kernel)
    for name, observable in module.OBSERVABLES.items()
}
