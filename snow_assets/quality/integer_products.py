"""Products of 16-bit integers on a CPU: two for each of fp32 in a cycle.

What goes into a product is rounded row by row, scaled to a Euclidean norm of 32,760 first, and a
row of weights to at most 65,000. So every number fits 16 bits, every sum 32, by Cauchy and Schwarz,
and nothing is ever clipped. Sums are exact: a row's results depend on no other row. What is lost is
about what fp16 loses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snow_assets.curation.jit import float_part

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int16]

# Of a tile: its twelve sums of eight, and what they are made of, fill AVX2's sixteen registers.
ROWS, COLUMNS = 6, 16
NORM = np.float32(32_760)
_WEIGHT_NORM, _LARGEST = 65_000, 32_767

_SHORT, _WORD, _INDEX, _FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


class Product(NamedTuple):
    """A matrix to multiply rows with, and a bias."""

    panels: Integers  # of 16 columns each: of two rows 16 pairs, then of the next two
    units: Floats  # what a one in each column is worth
    bias: Floats


def product_of(weight: Floats, bias: Floats) -> Product:
    """Round (columns, width) weights; both must be multiples of a tile's columns."""
    columns, width = weight.shape
    norms, largest = np.linalg.norm(weight, axis=1), np.abs(weight).max(axis=1)
    scale = np.minimum(
        _WEIGHT_NORM / np.maximum(norms, 1e-30), _LARGEST / np.maximum(largest, 1e-30)
    )
    rounded = np.rint(weight * scale[:, None]).astype(np.int16)
    pairs = rounded.reshape(columns // COLUMNS, COLUMNS, width // 2, 2)
    return Product(
        panels=np.ascontiguousarray(pairs.transpose(0, 2, 1, 3)).reshape(-1),
        units=(1 / scale).astype(np.float32),
        bias=np.ascontiguousarray(bias, dtype=np.float32),
    )


@dataclass(frozen=True)
class _Array:
    kind: Any
    value: Any


class _Vectors:
    """LLVM's vectors, for loops that it would take apart if they came as scalars."""

    def __init__(self, context: Any, builder: Any) -> None:
        self.context, self.builder = context, builder

    def place(self, array: _Array, start: Any) -> Any:
        """Where an array's number `start` lies."""
        made = self.context.make_array(array.kind)(self.context, self.builder, array.value)
        return self.builder.gep(made.data, [start])

    def further(self, start: Any, count: int, step: Any = None) -> Any:
        offset = ir.Constant(_INDEX, count)
        return self.builder.gep(start, [self.builder.mul(step, offset) if step else offset])

    def at(self, start: Any, index: Any, step: int) -> Any:
        return self.builder.gep(start, [self.builder.mul(index, ir.Constant(_INDEX, step))])

    def load(self, start: Any, kind: Any) -> Any:
        return self.builder.load(self.builder.bitcast(start, kind.as_pointer()), align=2)

    def store(self, value: Any, start: Any) -> None:
        pointer = self.builder.bitcast(start, value.type.as_pointer())
        self.builder.store(value, pointer, align=2)

    def picked(self, vector: Any, places: Sequence[int], other: Any = None) -> Any:
        """Some of a vector's numbers, or of two vectors' that lie one behind the other."""
        mask = ir.Constant(ir.VectorType(_WORD, len(places)), list(places))
        other = other or ir.Constant(vector.type, ir.Undefined)
        return self.builder.shuffle_vector(vector, other, mask)

    def spread(self, value: Any, count: int = 8) -> Any:
        empty = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
        first = self.builder.insert_element(empty, value, ir.Constant(_WORD, 0))
        return self.picked(first, [0] * count)

    def pair_sums(self, left: Any, right: Any) -> Any:
        """Eight sums of two products of 16-bit numbers: one instruction on x86."""
        wide = ir.VectorType(_WORD, 16)
        left, right = (self.builder.sext(one, wide) for one in (left, right))
        products = self.builder.mul(left, right)
        even, odd = (self.picked(products, range(first, 16, 2)) for first in (0, 1))
        return self.builder.add(even, odd)

    def called(self, name: str, kind: Any, *given: Any) -> Any:
        function_kind = ir.FunctionType(kind, [one.type for one in given])
        function = cgutils.get_or_insert_function(self.builder.module, function_kind, name)
        return self.builder.call(function, given, fastmath=["fast"])


def _inline(made: Any) -> Callable[[Callable[..., Any]], Any]:
    """A function that kernels can call, from one that emits its code; it makes a `made`."""

    def decorate(emit: Callable[..., Any]) -> Any:
        @wraps(emit)  # numba asks for its parameters
        def typed(_: Any, *kinds: Any) -> Any:
            def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
                given = [
                    _Array(kind, value) if isinstance(kind, types.Array) else value
                    for kind, value in zip(kinds, values, strict=True)
                ]
                found = emit(_Vectors(context, builder), *given)
                return context.get_dummy_value() if made is types.void else found

            return made(*kinds), generate

        return intrinsic(typed)

    return decorate


@_inline(types.void)
def tile(
    vectors: _Vectors, rows: _Array, first: Any, stride: Any, row_units: _Array, unit: Any,
    panels: _Array, panel: Any, pairs: Any, units: _Array, bias: Any, column: Any, out: _Array,
    to: Any, out_stride: Any,
) -> None:  # fmt: skip
    """A tile of a product, ROWS rows by a panel, into `out` from `to` on; all arrays lie flat.

    The rows start at `first`, each `stride` numbers behind the one before, and are worth
    `row_units` from `unit` on; `units` and `bias` (or None) are of the panel's columns.
    """
    builder = vectors.builder
    shorts, words = ir.VectorType(_SHORT, 16), ir.VectorType(_WORD, 8)
    floats = ir.VectorType(_FLOAT, 8)
    zeros = ir.Constant(words, [0] * 8)
    sums = [[cgutils.alloca_once_value(builder, zeros) for _ in (0, 8)] for _ in range(ROWS)]
    start = vectors.place(rows, first)
    starts = [vectors.further(start, row, stride) for row in range(ROWS)]
    start = vectors.place(panels, panel)
    with cgutils.for_range(builder, pairs) as loop:
        pair = vectors.at(start, loop.index, 2 * COLUMNS)
        halves = [vectors.load(vectors.further(pair, half), shorts) for half in (0, COLUMNS)]
        for row, own in zip(starts, sums, strict=True):
            both = vectors.spread(vectors.load(vectors.at(row, loop.index, 2), _WORD))
            both = builder.bitcast(both, shorts)
            for total, half in zip(own, halves, strict=True):
                added = builder.add(builder.load(total), vectors.pair_sums(both, half))
                builder.store(added, total)
    start = vectors.place(out, to)
    for number, own in enumerate(sums):
        row_unit = vectors.load(vectors.further(vectors.place(row_units, unit), number), _FLOAT)
        into = vectors.further(start, number, out_stride)
        for half, total in zip((0, 8), own, strict=True):
            worth = vectors.load(vectors.further(vectors.place(units, column), half), floats)
            worth = builder.fmul(worth, vectors.spread(row_unit), flags=["fast"])
            made = builder.fmul(builder.sitofp(builder.load(total), floats), worth, flags=["fast"])
            if isinstance(bias, _Array):
                more = vectors.load(vectors.further(vectors.place(bias, column), half), floats)
                made = builder.fadd(made, more, flags=["fast"])
            vectors.store(made, vectors.further(into, half))


@_inline(types.float32)
def round_numbers(
    vectors: _Vectors, numbers: _Array, start: Any, count: Any, out: _Array, to: Any
) -> Any:
    """Round `count` numbers (a multiple of 16) into `out` from `to` on; what a one is worth.

    Without slices, whose counts of references cost as much as the work on a head's few numbers.
    """
    builder, floats = vectors.builder, ir.VectorType(_FLOAT, COLUMNS)
    source, there = vectors.place(numbers, start), vectors.place(out, to)
    squares = cgutils.alloca_once_value(builder, ir.Constant(floats, [0.0] * COLUMNS))
    times = builder.sdiv(count, ir.Constant(_INDEX, COLUMNS))
    with cgutils.for_range(builder, times) as loop:
        some = vectors.load(vectors.at(source, loop.index, COLUMNS), floats)
        more = builder.fmul(some, some, flags=["fast"])
        builder.store(builder.fadd(builder.load(squares), more, flags=["fast"]), squares)
    zero, one = ir.Constant(_FLOAT, 0.0), ir.Constant(_FLOAT, 1.0)
    total = vectors.called(
        f"llvm.vector.reduce.fadd.v{COLUMNS}f32", _FLOAT, zero, builder.load(squares)
    )
    # Zeros stay zeros by any scale.
    total = builder.select(builder.fcmp_ordered(">", total, zero), total, one)
    root, norm = vectors.called("llvm.sqrt.f32", _FLOAT, total), ir.Constant(_FLOAT, float(NORM))
    scale = vectors.spread(builder.fdiv(norm, root), COLUMNS)
    with cgutils.for_range(builder, times) as loop:
        some = vectors.load(vectors.at(source, loop.index, COLUMNS), floats)
        some = vectors.called(f"llvm.rint.v{COLUMNS}f32", floats, builder.fmul(some, scale))
        whole = builder.fptosi(some, ir.VectorType(_WORD, COLUMNS))
        short = builder.trunc(whole, ir.VectorType(_SHORT, COLUMNS))
        vectors.store(short, vectors.at(there, loop.index, COLUMNS))
    return builder.fdiv(root, norm)


@_inline(types.void)
def interleave(
    vectors: _Vectors, numbers: _Array, one: Any, other: Any, out: _Array, to: Any
) -> None:
    """COLUMNS numbers from `one` on and as many from `other` on, in turns."""
    shorts = ir.VectorType(_SHORT, COLUMNS)
    left, right = (vectors.load(vectors.place(numbers, start), shorts) for start in (one, other))
    turns = [place for pair in range(COLUMNS) for place in (pair, COLUMNS + pair)]
    vectors.store(vectors.picked(left, turns, right), vectors.place(out, to))


@_inline(types.float32)
def larger(vectors: _Vectors, one: Any, other: Any) -> Any:
    """The larger of two floats, as an instruction: a comparison would keep its loop scalar."""
    return vectors.called("llvm.maxnum.f32", _FLOAT, one, other)


@_inline(types.float32)
def float_of_bits(vectors: _Vectors, bits: Any) -> Any:
    return vectors.builder.bitcast(bits, _FLOAT)


@float_part
def multiply(rows: Any, units: Any, num_rows: Any, by: Any, out: Any) -> None:
    """Rounded `rows`, a multiple of ROWS, which are worth `units`, times a matrix, into `out`: all
    lie flat. A panel's tiles come one after another."""
    columns = len(by.units)
    width = len(by.panels) // columns
    for column in range(0, columns, COLUMNS):
        for row in range(0, num_rows, ROWS):
            tile(
                rows, row * width, width, units, row, by.panels, column * width, width // 2,
                by.units, by.bias, column, out, row * columns + column, columns,
            )  # fmt: skip
