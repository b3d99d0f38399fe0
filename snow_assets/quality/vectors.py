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

    def pointer(self, array: Array, start: Any) -> Any:
        """Where an array's number `start` lies."""
        array_struct = self.context.make_array(array.kind)(self.context, self.builder, array.value)
        return self.builder.gep(array_struct.data, [start])

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

    def picked(self, vector: Any, lanes: Sequence[int], second: Any = None) -> Any:
        """Some of a vector's numbers, or of two vectors' that lie one behind the other."""
        mask = ir.Constant(ir.VectorType(WORD, len(lanes)), list(lanes))
        second = second or ir.Constant(vector.type, ir.Undefined)
        return self.builder.shuffle_vector(vector, second, mask)

    def transposed(self, rows: Sequence[Any]) -> list[Any]:
        """LANES vectors of the columns of as many: blocks change places, ever larger ones."""
        transposed, step = list(rows), 1
        while step < LANES:
            kept_lanes = [lane if not lane & step else LANES + lane - step for lane in range(LANES)]
            moved_lanes = [
                lane + step if not lane & step else LANES + lane for lane in range(LANES)
            ]
            for row in (row for row in range(LANES) if not row & step):
                pair = transposed[row], transposed[row + step]
                transposed[row] = self.picked(pair[0], kept_lanes, pair[1])
                transposed[row + step] = self.picked(pair[0], moved_lanes, pair[1])
            step *= 2
        return transposed

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
        left, right = (self.builder.sext(operand, wide) for operand in (left, right))
        products = self.builder.mul(left, right)
        even, odd = (self.picked(products, range(first, 2 * LANES, 2)) for first in (0, 1))
        return self.builder.add(even, odd)

    def called(self, name: str, kind: Any, *arguments: Any) -> Any:
        function_kind = ir.FunctionType(kind, [argument.type for argument in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, function_kind, name)
        return self.builder.call(function, arguments, fastmath=["fast"])


Number = Union["Numbers", float]


@dataclass(frozen=True)
class Numbers:
    """A vector of floats, for formulas; sums may be taken in any order."""

    vectors: Vectors
    value: Any

    def _binary(self, emit: Any, left: Number, right: Number) -> "Numbers":
        operands = [
            operand.value if isinstance(operand, Numbers) else self.vectors.spread(float(operand))
            for operand in (left, right)
        ]
        return Numbers(self.vectors, emit(*operands, flags=["fast"]))

    def _called(self, name: str, *arguments: Any) -> "Numbers":
        result = self.vectors.called(f"llvm.{name}.v{LANES}f32", FLOATS, self.value, *arguments)
        return Numbers(self.vectors, result)

    def __add__(self, operand: Number) -> "Numbers":
        return self._binary(self.vectors.builder.fadd, self, operand)

    def __sub__(self, operand: Number) -> "Numbers":
        return self._binary(self.vectors.builder.fsub, self, operand)

    def __mul__(self, operand: Number) -> "Numbers":
        return self._binary(self.vectors.builder.fmul, self, operand)

    def __rtruediv__(self, operand: float) -> "Numbers":
        return self._binary(self.vectors.builder.fdiv, operand, self)

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self) -> "Numbers":
        return self._called("fabs")

    def larger(self, operand: Number) -> "Numbers":
        """The larger of two numbers in each lane."""
        if not isinstance(operand, Numbers):
            operand = Numbers(self.vectors, self.vectors.spread(float(operand)))
        return self._called("maxnum", operand.value)

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


def inline(return_type: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a function that emits code callable from kernels, returning `return_type`."""

    def decorate(emit: Callable[..., Any]) -> Any:
        @wraps(emit)  # numba asks for its parameters
        def typed(_: Any, *kinds: Any) -> Any:
            def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
                arguments = [
                    Array(kind, value) if isinstance(kind, types.Array) else value
                    for kind, value in zip(kinds, values, strict=True)
                ]
                result = emit(Vectors(context, builder), *arguments)
                return context.get_dummy_value() if return_type is types.void else result

            return return_type(*kinds), generate

        return intrinsic(typed)

    return decorate
