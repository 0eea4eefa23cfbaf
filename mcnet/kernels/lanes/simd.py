"""Vectors of sixteen lanes inside Numba functions, explicit where auto-vectorisation would be luck.

A :class:`Lanes` value is one LLVM vector; LLVM cuts it into what the CPU has (AVX-512, AVX2, SSE2, NEON), with the same
bits everywhere. Arithmetic (``+ - * /``), comparisons and shifts are the operators of Python; a number beside a vector
is put into all lanes. Nothing is ever fused or reordered unless :func:`fma` says so: the random streams rely on it.

Kinds: ``f4`` and ``f8`` (real), ``i4`` (32-bit integers), ``i8`` (64-bit, eight lanes, for 32 x 32-bit products) and
masks, the results of comparisons. These functions exist only inside functions compiled with :func:`compiled` or
:func:`inlined`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic as numba_intrinsic
from numba.extending import overload, register_model

Function = TypeVar("Function", bound=Callable[..., Any])
Vector = Any
"""What a kernel's annotations call a :class:`Lanes` value."""

LANES = 16
PART: Any = {"error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
"""A part of a kernel allocates nothing and counts no references (each count is a locked instruction)."""
INLINED: Any = {**PART, "forceinline": True}

_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_ELEMENTS = {"f4": ir.FloatType(), "f8": ir.DoubleType(), "i4": _INT32, "i8": _INT64}


class Lanes(types.Type):
    """Numba type of a vector; a mask remembers the kind that was compared."""

    def __init__(self, kind: str, count: int = LANES, mask: bool = False) -> None:
        self.kind, self.count, self.mask = kind, count, mask
        self.llvm = ir.VectorType(ir.IntType(1) if mask else _ELEMENTS[kind], count)
        super().__init__(f"{'mask' if mask else 'lanes'}({kind}x{count})")

    @property
    def real(self) -> bool:
        return self.kind[0] == "f"


class _Model(PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, lanes.llvm)  # type: ignore[no-untyped-call]


register_model(Lanes)(_Model)

F4, F8, I4, I8 = Lanes("f4"), Lanes("f8"), Lanes("i4"), Lanes("i8", 8)


def compiled(function: Function) -> Function:
    """Compile a kernel: no GIL, kept on disk beside its source."""
    return cast(Function, njit(nogil=True, cache=True, error_model="numpy")(function))


def inlined(function: Function) -> Function:
    """Compile a part of kernels, inlined by LLVM (inlining by Numba makes compilation five times slower)."""
    return cast(Function, njit(**INLINED)(function))


def shared(function: Function) -> Function:
    """Compile a part of kernels that is called, not inlined: less to compile where it stands in several places."""
    return cast(Function, njit(**PART)(function))


# --- building blocks ---


def intrinsic(function: Callable[..., Any]) -> Any:
    """A function of compiled code from its typing and code generation (its signature there is not that in Python)."""
    return numba_intrinsic(function)


def _shuffle(builder: Any, x: Any, y: Any, pattern: list[int]) -> Any:
    return builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(_INT32, len(pattern)), pattern))


def _splat(builder: Any, lanes: Lanes, value: Any) -> Any:
    """A scalar of any numeric type in all lanes."""
    element = lanes.llvm.element
    if isinstance(value.type, ir.IntType):
        if lanes.real:
            value = builder.sitofp(value, element)
        elif value.type.width > element.width:
            value = builder.trunc(value, element)
        elif value.type.width < element.width:
            value = builder.sext(value, element)
    elif isinstance(value.type, ir.DoubleType) and lanes.kind == "f4":
        value = builder.fptrunc(value, element)
    elif isinstance(value.type, ir.FloatType) and lanes.kind == "f8":
        value = builder.fpext(value, element)
    undefined = ir.Constant(lanes.llvm, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
    return _shuffle(builder, first, undefined, [0] * lanes.count)


def _common(*arguments: Any) -> Lanes | None:
    return next((argument for argument in arguments if isinstance(argument, Lanes) and not argument.mask), None)


def _elementwise(arity: int, emit: Callable[..., Any], result: Callable[[Lanes], Lanes] = lambda lanes: lanes) -> Any:
    """Intrinsic of vectors of one kind, scalars widened; ``emit(builder, lanes, *values)``."""

    def typed(*arguments: Any) -> Any:
        lanes = _common(*arguments)
        if lanes is None:
            return None

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            full = [
                value if isinstance(given, Lanes) else _splat(builder, lanes, value)
                for given, value in zip(signature.args, values, strict=True)
            ]
            return emit(builder, lanes, *full)

        return result(lanes)(*arguments), generate

    if arity == 1:
        return intrinsic(lambda context, x: typed(x))
    if arity == 2:
        return intrinsic(lambda context, x, y: typed(x, y))
    return intrinsic(lambda context, x, y, z: typed(x, y, z))


def _call(name: str) -> Callable[..., Any]:
    """Emit a call of the LLVM intrinsic ``llvm.name``."""

    def emit(builder: Any, lanes: Lanes, *values: Any) -> Any:
        suffix = f"v{lanes.count}f{'32' if lanes.kind == 'f4' else '64'}"
        function = builder.module.declare_intrinsic(
            f"llvm.{name}.{suffix}", (), ir.FunctionType(lanes.llvm, [lanes.llvm] * len(values))
        )
        return builder.call(function, values)

    return emit


def _install(symbol: Any, function: Any) -> None:
    """Let an operator of Python mean ``function`` where a vector takes part."""

    def elementwise(a: Any, b: Any) -> Any:
        return function(a, b)

    def implementation(a: Any, b: Any) -> Any:
        return None if _common(a, b) is None else elementwise

    overload(symbol, jit_options=INLINED)(implementation)


def _arithmetic(symbol: Any, real: str | None, integer: str | None) -> None:
    def emit(builder: Any, lanes: Lanes, x: Any, y: Any) -> Any:
        name = real if lanes.real else integer
        if name is None:
            raise TypeError(f"{symbol.__name__} is not defined for {lanes}")
        return getattr(builder, name)(x, y)

    _install(symbol, _elementwise(2, emit))


def _comparison(symbol: Any, text: str) -> None:
    def emit(builder: Any, lanes: Lanes, x: Any, y: Any) -> Any:
        return builder.fcmp_ordered(text, x, y) if lanes.real else builder.icmp_signed(text, x, y)

    _install(symbol, _elementwise(2, emit, lambda lanes: Lanes(lanes.kind, lanes.count, mask=True)))


_arithmetic(operator.add, "fadd", "add")
_arithmetic(operator.sub, "fsub", "sub")
_arithmetic(operator.mul, "fmul", "mul")
_arithmetic(operator.truediv, "fdiv", None)
_arithmetic(operator.xor, None, "xor")
_arithmetic(operator.and_, None, "and_")
_arithmetic(operator.lshift, None, "shl")
_arithmetic(operator.rshift, None, "ashr")
_comparison(operator.gt, ">")
_comparison(operator.ge, ">=")
_comparison(operator.lt, "<")
_comparison(operator.le, "<=")
_comparison(operator.eq, "==")


# --- elementwise functions ---

shift_unsigned = _elementwise(2, lambda builder, lanes, x, k: builder.lshr(x, k))
"""Logical shift to the right (``>>`` keeps the sign)."""

sqrt = _elementwise(1, _call("sqrt"))
absolute = _elementwise(1, _call("fabs"))
nearest = _elementwise(1, _call("rint"))
below = _elementwise(1, _call("floor"))
fma = _elementwise(3, _call("fmuladd"))
"""x * y + z, fused where the CPU can do it fast."""
fma_exact = _elementwise(3, _call("fma"))
"""x * y + z, always fused (slow on a CPU without such an instruction)."""
like = _elementwise(2, lambda builder, lanes, x, value: value)
"""``like(x, value)``: the value in all lanes of a vector of the kind of x."""


def _where(context: Any, mask: Any, a: Any, b: Any) -> Any:
    if not (isinstance(mask, Lanes) and mask.mask):
        return None
    lanes = _common(a, b) or Lanes(mask.kind, mask.count)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        full = [
            value if isinstance(given, Lanes) else _splat(builder, lanes, value)
            for given, value in zip(signature.args[1:], values[1:], strict=True)
        ]
        return builder.select(values[0], *full)

    return lanes(mask, a, b), generate


where = intrinsic(_where)


def _any(context: Any, mask: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[0], ir.IntType(mask.count))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return types.boolean(mask), generate


any_lane = intrinsic(_any)


def library(name: str) -> Any:
    """The function of the C library of that name in float64, lane by lane: right at once, fast never."""

    def emit(builder: Any, lanes: Lanes, x: Any) -> Any:
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(ir.DoubleType(), [ir.DoubleType()]), name)
        result = ir.Constant(lanes.llvm, ir.Undefined)
        for lane in range(lanes.count):
            index = ir.Constant(_INT32, lane)
            value = builder.extract_element(x, index)
            value = builder.call(function, [value if lanes.kind == "f8" else builder.fpext(value, ir.DoubleType())])
            value = value if lanes.kind == "f8" else builder.fptrunc(value, ir.FloatType())
            result = builder.insert_element(result, value, index)
        return result

    return _elementwise(1, emit)


# --- making and converting ---


def _conversion(source: Lanes, target: Lanes, emit: Callable[[Any, Any], Any]) -> Any:
    def typed(context: Any, x: Any) -> Any:
        if x != source:
            return None
        return target(x), lambda context, builder, signature, values: emit(builder, values[0])

    return intrinsic(typed)


bits_of = _conversion(F4, I4, lambda builder, x: builder.bitcast(x, I4.llvm))
float_of_bits = _conversion(I4, F4, lambda builder, x: builder.bitcast(x, F4.llvm))
float_of_unsigned = _conversion(I4, F4, lambda builder, x: builder.uitofp(x, F4.llvm))
float_of_signed = _conversion(I4, F4, lambda builder, x: builder.sitofp(x, F4.llvm))
truncated = _conversion(F8, I4, lambda builder, x: builder.fptosi(x, I4.llvm))
low_half = _conversion(I4, I8, lambda builder, x: builder.zext(_shuffle(builder, x, x, list(range(8))), I8.llvm))
high_half = _conversion(I4, I8, lambda builder, x: builder.zext(_shuffle(builder, x, x, list(range(8, 16))), I8.llvm))


def _splatted(lanes: Lanes) -> Any:
    def typed(context: Any, value: Any) -> Any:
        return lanes(value), lambda context, builder, signature, values: _splat(builder, lanes, values[0])

    return intrinsic(typed)


f4, f8, i4, i8 = _splatted(F4), _splatted(F8), _splatted(I4), _splatted(I8)


def _lane_numbers(context: Any) -> Any:
    return I4(), lambda context, builder, signature, values: ir.Constant(I4.llvm, list(range(LANES)))


lane_numbers = intrinsic(_lane_numbers)


def _real(target: Lanes) -> Any:
    def typed(context: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            if x.kind == target.kind:
                return values[0]
            return (builder.fpext if target.kind == "f8" else builder.fptrunc)(values[0], target.llvm)

        return target(x), generate

    return intrinsic(typed)


wide, narrow = _real(F8), _real(F4)


def _merge(context: Any, x: Any, y: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        low, high = (builder.bitcast(value, I4.llvm) for value in values)
        return _shuffle(builder, low, high, list(range(0, 32, 2)))

    return I4(x, y), generate


merge = intrinsic(_merge)
"""The low words of two ``i8`` vectors as one ``i4``."""


def _multiply_words(context: Any, x: Any, y: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        mask = ir.Constant(I8.llvm, [0xFFFFFFFF] * I8.count)
        return builder.mul(builder.and_(values[0], mask), _splat(builder, I8, values[1]))

    return I8(x, y), generate


multiply_words = intrinsic(_multiply_words)
"""The 64-bit product of the low words of an ``i8`` with a number below 2^32 (one instruction)."""


def _half_power(context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        integers = ir.VectorType(_INT64, LANES)

        def constant(value: int) -> Any:
            return ir.Constant(integers, [value] * LANES)

        exponent = builder.sub(builder.lshr(builder.bitcast(values[0], integers), constant(52)), constant(1023))
        half = builder.sub(constant(1023), builder.ashr(exponent, constant(1)))
        return builder.bitcast(builder.shl(half, constant(52)), F8.llvm)

    return F8(x), generate


half_power = intrinsic(_half_power)
"""For x >= 0 in float64 a power of two p with 1 <= p^2 x < 4 (x = 0: some large power)."""


# --- memory ---


def _pointer(context: Any, builder: Any, array: Any, value: Any, index: Any, lanes: Lanes) -> Any:
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [index]), lanes.llvm.as_pointer())


_KINDS = {types.float32: F4, types.float64: F8, types.int32: I4}


def _load(context: Any, array: Any, index: Any) -> Any:
    lanes = _KINDS[array.dtype]

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        result = builder.load(_pointer(context, builder, array, values[0], values[1], lanes))
        result.align = array.dtype.bitwidth // 8
        return result

    return lanes(array, types.intp), generate


load = intrinsic(_load)
"""``load(array, i)``: elements i to i + 15 of a flat contiguous array."""


def _store(context: Any, array: Any, index: Any, x: Any) -> Any:
    lanes = _KINDS[array.dtype]

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        value = values[2]
        if x.kind != lanes.kind:
            value = (builder.fpext if lanes.kind == "f8" else builder.fptrunc)(value, lanes.llvm)
        builder.store(value, _pointer(context, builder, array, values[0], values[1], lanes), array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, x), generate


store = intrinsic(_store)
"""``store(array, i, x)``: a real vector is converted to the element type of the array."""


def _store_interleaved(context: Any, array: Any, index: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        for part in range(4):
            pairs = [n for j in range(4 * part, 4 * part + 4) for n in (j, LANES + j)] + [0] * 8
            ab = _shuffle(builder, values[2], values[3], pairs)
            cd = _shuffle(builder, values[4], values[5], pairs)
            quads = _shuffle(builder, ab, cd, [n for j in range(0, 8, 2) for n in (j, j + 1, LANES + j, LANES + j + 1)])
            place = builder.add(values[1], ir.Constant(values[1].type, LANES * part))
            builder.store(quads, _pointer(context, builder, array, values[0], place, F4), 4)
        return context.get_dummy_value()

    return types.void(array, types.intp, a, b, c, d), generate


store_interleaved = intrinsic(_store_interleaved)
"""Store four ``f4`` vectors so that element 4 j + k is lane j of vector k."""


def _sum_lanes(context: Any, x: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        total, count = values[0], LANES
        while count > 1:
            count //= 2
            low = _shuffle(builder, total, total, list(range(count)))
            total = builder.fadd(low, _shuffle(builder, total, total, list(range(count, 2 * count))))
        return builder.extract_element(total, ir.Constant(_INT32, 0))

    return types.float64(x), generate


sum_lanes = intrinsic(_sum_lanes)
"""Sum of the lanes of an ``f8`` as a tree."""
