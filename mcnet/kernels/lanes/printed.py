"""What stands where a program has its activation: here the linear one, replaced by the printed form of another."""

from __future__ import annotations

from mcnet.kernels.lanes.simd import Vector, inlined, like


@inlined
def phi(u: Vector) -> Vector:
    return u


@inlined
def dphi(u: Vector) -> Vector:
    return like(u, 1.0)


@inlined
def phi_dphi(u: Vector) -> tuple[Vector, Vector]:
    return u, like(u, 1.0)


@inlined
def kink_product(u: Vector, v: Vector) -> Vector:
    """Negative where a kink of phi lies between u and v, otherwise not."""
    return like(u, 1.0)
