"""LLVM's vectors through numba: for loops that it would take apart if they came as scalars.

A function decorated with `inline` emits its code wherever a kernel calls it. A vector has as many
lanes of 32 bits as a register of this CPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Union

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16 if llvmlite.binding.get_host_cpu_features().get("avx512bw") else 8

SHORT, WORD, INDEX, FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()
SHORTS, WORDS = ir.VectorType(SHORT, 2 * LANES), ir.VectorType(WORD, LANES)
FLOATS = ir.VectorType(FLOAT, LANES)


@dataclass(frozen=True)
class Array:
    """A flat array, as a kernel gives it."""

    kind: Any
    value: Any


class Vectors:
    """Emits vectors' instructions."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def place(self, array: Array, start: Any) -> Any:
        """Where an array's number `start` lies."""
        made = self.context.make_array(array.kind)(self.context, self.builder, array.value)
        return self.builder.gep(made.data, [start])

    def further(self, start: Any, count: Any, step: int = 1) -> Any:
        if isinstance(count, int):
            return self.builder.gep(start, [ir.Constant(INDEX, count * step)])
        return self.builder.gep(start, [self.builder.mul(count, ir.Constant(INDEX, step))])

    def load(self, start: Any, kind: Any) -> Any:
        return self.builder.load(self.builder.bitcast(start, kind.as_pointer()), align=2)

    def floats(self, start: Any) -> "Numbers":
        return Numbers(self, self.load(start, FLOATS))

    def store(self, value: Any, start: Any) -> None:
        pointer = self.builder.bitcast(start, value.type.as_pointer())
        self.builder.store(value, pointer, align=2)

    def picked(self, vector: Any, places: Sequence[int], other: Any = None) -> Any:
        """Some of a vector's numbers, or of two vectors' that lie one behind the other."""
        mask = ir.Constant(ir.VectorType(WORD, len(places)), list(places))
        other = other or ir.Constant(vector.type, ir.Undefined)
        return self.builder.shuffle_vector(vector, other, mask)

    def transposed(self, rows: Sequence[Any]) -> list[Any]:
        """LANES vectors of the columns of as many: blocks change places, ever larger ones."""
        made, step = list(rows), 1
        while step < LANES:
            kept = [lane if not lane & step else LANES + lane - step for lane in range(LANES)]
            other = [lane + step if not lane & step else LANES + lane for lane in range(LANES)]
            for row in (row for row in range(LANES) if not row & step):
                pair = made[row], made[row + step]
                made[row] = self.picked(pair[0], kept, pair[1])
                made[row + step] = self.picked(pair[0], other, pair[1])
            step *= 2
        return made

    def spread(self, value: Any) -> Any:
        """A number, or a constant, in each lane."""
        if isinstance(value, float):
            return ir.Constant(FLOATS, [value] * LANES)
        empty = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
        first = self.builder.insert_element(empty, value, ir.Constant(WORD, 0))
        return self.picked(first, [0] * LANES)

    def pair_sums(self, left: Any, right: Any) -> Any:
        """Sums of two products of 16-bit numbers each: one instruction on x86."""
        wide = ir.VectorType(WORD, 2 * LANES)
        left, right = (self.builder.sext(one, wide) for one in (left, right))
        products = self.builder.mul(left, right)
        even, odd = (self.picked(products, range(first, 2 * LANES, 2)) for first in (0, 1))
        return self.builder.add(even, odd)

    def called(self, name: str, kind: Any, *given: Any) -> Any:
        function_kind = ir.FunctionType(kind, [one.type for one in given])
        function = cgutils.get_or_insert_function(self.builder.module, function_kind, name)
        return self.builder.call(function, given, fastmath=["fast"])


Number = Union["Numbers", float]


@dataclass(frozen=True)
class Numbers:
    """A vector of floats, for formulas; sums may be taken in any order."""

    vectors: Vectors
    value: Any

    def _made(self, emit: Any, left: Number, right: Number) -> "Numbers":
        given = [
            one.value if isinstance(one, Numbers) else self.vectors.spread(float(one))
            for one in (left, right)
        ]
        return Numbers(self.vectors, emit(*given, flags=["fast"]))

    def _called(self, name: str, *others: Any) -> "Numbers":
        found = self.vectors.called(f"llvm.{name}.v{LANES}f32", FLOATS, self.value, *others)
        return Numbers(self.vectors, found)

    def __add__(self, other: Number) -> "Numbers":
        return self._made(self.vectors.builder.fadd, self, other)

    def __sub__(self, other: Number) -> "Numbers":
        return self._made(self.vectors.builder.fsub, self, other)

    def __mul__(self, other: Number) -> "Numbers":
        return self._made(self.vectors.builder.fmul, self, other)

    def __rtruediv__(self, other: float) -> "Numbers":
        return self._made(self.vectors.builder.fdiv, other, self)

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self) -> "Numbers":
        return self._called("fabs")

    def larger(self, other: Number) -> "Numbers":
        """The larger of two numbers in each lane."""
        if not isinstance(other, Numbers):
            other = Numbers(self.vectors, self.vectors.spread(float(other)))
        return self._called("maxnum", other.value)

    def nearest_power_of_two(self) -> tuple["Numbers", "Numbers"]:
        """The nearest whole numbers, from -126 to 127, and two to the power of each."""
        builder = self.vectors.builder
        # A float of this size has no room for fractions, and its last bits are a whole number's,
        # which are the power's exponent. Fences keep the steps from cancelling out.
        large = 1.5 * 2**23 + 127
        moved = (self + large)._called("arithmetic.fence")
        bits = builder.bitcast(moved.value, WORDS)
        exponent = builder.shl(bits, ir.Constant(WORDS, [23] * LANES))
        power = Numbers(self.vectors, builder.bitcast(exponent, FLOATS))
        return (moved - large)._called("arithmetic.fence"), power

    def shorts(self) -> Any:
        """As 16-bit numbers, rounded."""
        builder = self.vectors.builder
        nearest = self._called("rint").value
        whole = builder.fptosi(nearest, WORDS)
        return builder.trunc(whole, ir.VectorType(SHORT, LANES))

    def total(self) -> Any:
        zero = ir.Constant(FLOAT, 0.0)
        return self.vectors.called(f"llvm.vector.reduce.fadd.v{LANES}f32", FLOAT, zero, self.value)

    def highest(self) -> Any:
        return self.vectors.called(f"llvm.vector.reduce.fmax.v{LANES}f32", FLOAT, self.value)


def inline(made: Any) -> Callable[[Callable[..., Any]], Any]:
    """A function that kernels can call, from one that emits its code; it makes a `made`."""

    def decorate(emit: Callable[..., Any]) -> Any:
        @wraps(emit)  # numba asks for its parameters
        def typed(_: Any, *kinds: Any) -> Any:
            def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
                given = [
                    Array(kind, value) if isinstance(kind, types.Array) else value
                    for kind, value in zip(kinds, values, strict=True)
                ]
                found = emit(Vectors(context, builder), *given)
                return context.get_dummy_value() if made is types.void else found

            return made(*kinds), generate

        return intrinsic(typed)

    return decorate
