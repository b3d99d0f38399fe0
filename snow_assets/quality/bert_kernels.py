"""A layer of BERT on a CPU, in products of 16-bit integers: two for each of fp32 in a cycle.

What goes into a product is rounded row by row (a token's numbers, a head's query, key, share of
keys; a head's values column by column): scaled to a Euclidean norm of 32,760 first, and a row of
weights to at most 65,000. So every number fits 16 bits, every sum 32, by Cauchy and Schwarz, and
nothing is ever clipped. Sums are exact: a row's results depend on no other row. Between products
all is fp32. What is lost is about what fp16 loses.

In one file, because what numba keeps on disk of a kernel knows of no other file's changes.
"""

import math
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

from snow_assets.curation.jit import float_kernel, float_part

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int16]

# Of a tile: its twelve sums of eight, and what they are made of, fill AVX2's sixteen registers.
ROWS, COLUMNS = 6, 16
_BLOCK_ROWS = 48  # of a product, so that what they are made of stays in a core's cache
_NORM, _WEIGHT_NORM, _LARGEST = np.float32(32_760), 65_000, 32_767

_SHORT, _WORD, _INDEX, _FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_LOG2_E, _LOWEST = np.float32(1 / math.log(2)), np.float32(-126)
# 2 ** x by its Taylor series, to 2.4e-6 of itself where |x| <= 0.5.
_P1, _P2, _P3, _P4, _P5 = (np.float32(math.log(2) ** n / math.factorial(n)) for n in range(1, 6))
# The error function to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
_E0 = np.float32(0.3275911 / math.sqrt(2))
_E1, _E2, _E3, _E4, _E5 = (
    np.float32(number)
    for number in (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
)


class Product(NamedTuple):
    """A matrix to multiply rows with, and a bias."""

    panels: Integers  # of 16 columns each: of two rows 16 pairs, then of the next two
    units: Floats  # what a one in each column is worth
    bias: Floats


class Norm(NamedTuple):
    gain: Floats
    bias: Floats


class Layer(NamedTuple):
    attention: Product  # queries, keys and values
    attention_out: Product
    attention_norm: Norm
    wide: Product
    narrow: Product
    norm: Norm


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
def _tile(
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
def _round(vectors: _Vectors, numbers: _Array, start: Any, count: Any, out: _Array, to: Any) -> Any:
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
    root, norm = vectors.called("llvm.sqrt.f32", _FLOAT, total), ir.Constant(_FLOAT, float(_NORM))
    scale = vectors.spread(builder.fdiv(norm, root), COLUMNS)
    with cgutils.for_range(builder, times) as loop:
        some = vectors.load(vectors.at(source, loop.index, COLUMNS), floats)
        some = vectors.called(f"llvm.rint.v{COLUMNS}f32", floats, builder.fmul(some, scale))
        whole = builder.fptosi(some, ir.VectorType(_WORD, COLUMNS))
        short = builder.trunc(whole, ir.VectorType(_SHORT, COLUMNS))
        vectors.store(short, vectors.at(there, loop.index, COLUMNS))
    return builder.fdiv(root, norm)


@_inline(types.void)
def _interleave(
    vectors: _Vectors, numbers: _Array, one: Any, other: Any, out: _Array, to: Any
) -> None:
    """COLUMNS numbers from `one` on and as many from `other` on, in turns."""
    shorts = ir.VectorType(_SHORT, COLUMNS)
    left, right = (vectors.load(vectors.place(numbers, start), shorts) for start in (one, other))
    turns = [place for pair in range(COLUMNS) for place in (pair, COLUMNS + pair)]
    vectors.store(vectors.picked(left, turns, right), vectors.place(out, to))


@_inline(types.float32)
def _larger(vectors: _Vectors, one: Any, other: Any) -> Any:
    """The larger of two floats, as an instruction: a comparison would keep its loop scalar."""
    return vectors.called("llvm.maxnum.f32", _FLOAT, one, other)


@_inline(types.float32)
def _float_of_bits(vectors: _Vectors, bits: Any) -> Any:
    return vectors.builder.bitcast(bits, _FLOAT)


@float_part
def _exp(value: Any) -> Any:
    """Of a number that is not above 0; of less than -87, about 1e-38."""
    power = value * _LOG2_E
    power = power if power > _LOWEST else _LOWEST
    whole = np.int32(power - _HALF)
    rest = power - np.float32(whole)
    series = _P1 + rest * (_P2 + rest * (_P3 + rest * (_P4 + rest * _P5)))
    return (_ONE + rest * series) * _float_of_bits(np.int32((whole + 127) << 23))


@float_part
def _gelu(value: Any) -> Any:
    size = abs(value)
    turn = _ONE / (_ONE + _E0 * size)
    series = turn * (_E1 + turn * (_E2 + turn * (_E3 + turn * (_E4 + turn * _E5))))
    return _HALF * (value + size - size * series * _exp(-_HALF * size * size))


@float_part
def _norm_row(row: Any, norm: Any, eps: Any) -> None:
    total = _ZERO
    for place in range(len(row)):
        total += row[place]
    mean = total / np.float32(len(row))
    squares = _ZERO
    for place in range(len(row)):
        squares += (row[place] - mean) * (row[place] - mean)
    scale = _ONE / np.sqrt(squares / np.float32(len(row)) + eps)
    for place in range(len(row)):
        row[place] = (row[place] - mean) * scale * norm.gain[place] + norm.bias[place]


@float_kernel
def norm_rows(rows: Any, norm: Any, eps: Any) -> None:
    """Layer normalization of each row, where it is."""
    for row in range(len(rows)):
        _norm_row(rows[row], norm, eps)


@float_part
def multiply(rows: Any, units: Any, num_rows: Any, by: Any, out: Any) -> None:
    """Rounded `rows`, a multiple of ROWS, which are worth `units`, times a matrix, into `out`: all
    lie flat. A panel's tiles come one after another."""
    columns = len(by.units)
    width = len(by.panels) // columns
    for column in range(0, columns, COLUMNS):
        for row in range(0, num_rows, ROWS):
            _tile(
                rows, row * width, width, units, row, by.panels, column * width, width // 2,
                by.units, by.bias, column, out, row * columns + column, columns,
            )  # fmt: skip


@float_part
def _column_scales(shared: Any, start: Any, length: Any, width: Any) -> Any:
    """What each column of a window's values is multiplied by before it is rounded."""
    squares = np.zeros(width, np.float32)
    for row in range(start, start + length):
        values = shared[row * 3 * width + 2 * width : (row + 1) * 3 * width]
        for place in range(width):
            squares[place] += values[place] * values[place]
    for place in range(width):
        norm = np.sqrt(squares[place])
        squares[place] = _NORM / (norm if norm > 0 else _ONE)
    return squares


@float_part
def _attend(shared: Any, start: Any, length: Any, num_heads: Any, width: Any, mixed: Any) -> None:
    """`mixed` for a window of `length` rows from `start` on: each head's shares of its values."""
    head_width = width // num_heads
    columns = -(-length // COLUMNS) * COLUMNS  # of whole panels
    rows = -(-length // ROWS) * ROWS  # of whole tiles
    queries, keys = np.zeros(rows * width, np.int16), np.zeros(columns * width, np.int16)
    query_units = np.zeros(num_heads * rows, np.float32)
    key_units = np.zeros(num_heads * columns, np.float32)
    temperature = _ONE / np.sqrt(np.float32(head_width))
    for row in range(length):
        own = (start + row) * 3 * width
        for head in range(num_heads):
            place = head * head_width
            unit = _round(shared, own + place, head_width, queries, row * width + place)
            query_units[head * rows + row] = unit * temperature
            unit = _round(shared, own + width + place, head_width, keys, row * width + place)
            key_units[head * columns + row] = unit
    scales = _column_scales(shared, start, length, width)
    values = np.zeros(columns * width, np.int16)
    for row in range(length):
        own = shared[((start + row) * 3 + 2) * width : (start + row + 1) * 3 * width]
        into = values[row * width : (row + 1) * width]
        for place in range(width):
            number = own[place] * scales[place]
            into[place] = np.int32(number + np.copysign(_HALF, number))
    for place in range(width):
        scales[place] = _ONE / scales[place]

    # A head's panels are beside each other. Pairs of a key's numbers, and of two keys' values.
    key_panels, value_panels = np.empty_like(keys), np.empty_like(values)
    pairs, panel_pairs = keys.view(np.int32), key_panels.view(np.int32)
    half = head_width // 2
    for head in range(num_heads):
        for row in range(columns):
            to = (head * columns + row // COLUMNS * COLUMNS) * half + row % COLUMNS
            for pair in range(half):
                panel_pairs[to + pair * COLUMNS] = pairs[(row * num_heads + head) * half + pair]
    for row in range(0, columns, 2):
        for place in range(0, width, COLUMNS):
            one = row * width + place
            _interleave(values, one, one + width, value_panels, place * columns + row * COLUMNS)

    scores, shares = np.empty(ROWS * columns, np.float32), np.zeros(ROWS * columns, np.int16)
    units = np.zeros(ROWS, np.float32)
    for head in range(num_heads):
        place = head * head_width
        for first in range(0, length, ROWS):
            for column in range(0, columns, COLUMNS):
                _tile(
                    queries, first * width + place, width, query_units, head * rows + first,
                    key_panels, (head * columns + column) * head_width, half,
                    key_units, None, head * columns + column, scores, column, columns,
                )  # fmt: skip
            for row in range(min(ROWS, length - first)):
                seen = scores[row * columns : row * columns + length]
                highest = seen[0]
                for key in range(length):
                    highest = _larger(highest, seen[key])
                total = _ZERO
                for key in range(length):
                    share = _exp(seen[key] - highest)
                    seen[key] = share
                    total += share
                scale = _NORM / np.sqrt(total)  # no share is above 1, and so no square above it
                into = shares[row * columns : row * columns + length]
                for key in range(length):
                    into[key] = np.int16(np.int32(seen[key] * scale + _HALF))
                units[row] = _ONE / (scale * total)
            # A tile's rows behind the window's last are the next one's, which are still to come.
            for column in range(place, place + head_width, COLUMNS):
                _tile(
                    shares, 0, columns, units, 0, value_panels, column * columns, columns // 2,
                    scales, None, column, mixed, (start + first) * width + column, width,
                )  # fmt: skip


@float_kernel
def run_layer(hidden: Any, bounds: Any, layer: Any, num_heads: Any, eps: Any) -> None:
    """What a layer makes of `hidden`, where it is: (rows, width), a multiple of ROWS rows.

    Windows lie one behind the other, each from one of `bounds` to the next; rows behind the last
    belong to none.
    """
    num_rows, width = hidden.shape
    wide = len(layer.wide.units)
    flat = hidden.reshape(-1)
    rounded, units = np.empty(_BLOCK_ROWS * width, np.int16), np.empty(_BLOCK_ROWS, np.float32)
    shared = np.empty(num_rows * 3 * width, np.float32)
    for start in range(0, num_rows, _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, num_rows - start)
        for row in range(count):
            units[row] = _round(flat, (start + row) * width, width, rounded, row * width)
        multiply(rounded, units, count, layer.attention, shared[start * 3 * width :])
    mixed = np.zeros((num_rows + ROWS) * width, np.float32)
    for window in range(len(bounds) - 1):
        start = bounds[window]
        _attend(shared, start, bounds[window + 1] - start, num_heads, width, mixed)
    attended = np.empty((_BLOCK_ROWS, width), np.float32)
    grown = np.empty((_BLOCK_ROWS, wide), np.float32)
    rounded_grown = np.empty(_BLOCK_ROWS * wide, np.int16)
    for start in range(0, num_rows, _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, num_rows - start)
        for row in range(count):
            units[row] = _round(mixed, (start + row) * width, width, rounded, row * width)
        multiply(rounded, units, count, layer.attention_out, attended.reshape(-1))
        for row in range(count):
            for place in range(width):
                attended[row, place] += hidden[start + row, place]
            _norm_row(attended[row], layer.attention_norm, eps)
            units[row] = _round(attended.reshape(-1), row * width, width, rounded, row * width)
        multiply(rounded, units, count, layer.wide, grown.reshape(-1))
        for row in range(count):
            for place in range(wide):
                grown[row, place] = _gelu(grown[row, place])
            units[row] = _round(grown.reshape(-1), row * wide, wide, rounded_grown, row * wide)
        multiply(rounded_grown, units, count, layer.narrow, flat[start * width :])
        for row in range(count):
            for place in range(width):
                hidden[start + row, place] += attended[row, place]
            _norm_row(hidden[start + row], layer.norm, eps)
