"""A residual block: what kind, which function, which variances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcnet import activations
from mcnet.activations import Activation
from mcnet.theory import fixed_points


@dataclass(frozen=True)
class Block:
    """One residual block.

    Attributes
    ----------
    kind : {"post", "pre", "two"}
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
    skip, branch : float
        a and s; not both zero.
    sigma_v2, sigma_c2 : float, optional
        Of the second matrix and bias of ``two``, which needs both; the others have none.
    """

    kind: str
    activation: str | Mapping[str, Any] | Activation
    sigma_w2: float
    sigma_b2: float
    skip: float
    branch: float
    sigma_v2: float | None = None
    sigma_c2: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("post", "pre", "two"):
            raise ValueError(f'kind = "{self.kind}": a residual block is "post", "pre" or "two"')
        fixed_points.check_variances(self.sigma_w2, self.sigma_b2)
        if self.kind == "two":
            if self.sigma_v2 is None or self.sigma_c2 is None:
                raise ValueError('block "two" needs sigma_v2 and sigma_c2')
            fixed_points.check_variances(self.sigma_v2, self.sigma_c2)
        elif self.sigma_v2 is not None or self.sigma_c2 is not None:
            raise ValueError(f'sigma_v2 and sigma_c2 belong to block "two", not to "{self.kind}"')
        if self.skip == 0.0 and self.branch == 0.0:
            raise ValueError("skip and branch are both zero: nothing passes")

    @property
    def phi(self) -> Activation:
        return activations.get(self.activation)

    @property
    def gain(self) -> float:
        """Factor of E phi'^2 in the growth of gradients: sigma_w2, times sigma_v2 for ``two``."""
        return self.sigma_w2 * (1.0 if self.sigma_v2 is None else self.sigma_v2)

    def variance(self, length: Any) -> Any:
        """Covariance of the pre-activations for overlaps of the stream: itself for ``pre``."""
        return length if self.kind == "pre" else self.sigma_w2 * length + self.sigma_b2

    def branch_length(self, square: Any) -> Any:
        """Overlaps of the branch, without s, for E phi phi."""
        if self.sigma_v2 is not None and self.sigma_c2 is not None:
            return self.sigma_v2 * square + self.sigma_c2
        return self.sigma_w2 * square + self.sigma_b2 if self.kind == "pre" else square
