"""A layer of BERT on a CPU: products of rounded rows (`integer_products`), fp32 between them.

A token's numbers, a head's query and key and its shares of the keys are rounded as rows, a head's
values as columns.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from snow_assets.curation.jit import float_kernel, float_part
from snow_assets.quality.integer_products import (
    COLUMNS,
    NORM,
    ROWS,
    Floats,
    Product,
    floats,
    interleave,
    multiply,
    place_in_tiles,
    round_numbers,
    round_rows,
    shorts,
    tile,
    turn_pairs,
)
from snow_assets.quality.vectors import FLOAT, INDEX, LANES, Array, Numbers, Vectors, inline

_BLOCK_ROWS = 48  # of a product, so that what they are made of stays in a core's cache

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_UNSEEN = np.float32(-1e9)  # a key's score that is none
LOG2_E = 1 / math.log(2)
_LOWEST = -100.0  # two to its power is nothing beside one, and no denormal number, which is slow
# 2 ** x to 2.9e-6 of itself where |x| <= 0.5: the best of its degree, by Lawson's iteration.
_P1, _P2, _P3, _P4 = 0.69312419, 0.24024099, 0.055906425, 0.0095828532
# The error function to 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
_E0 = 0.3275911 / math.sqrt(2)
_E1, _E2, _E3, _E4, _E5 = 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429


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


def _power_of_two(power: Numbers) -> Numbers:
    """Of numbers that are not above 0; of less than -100, about 1e-30."""
    power = power.larger(_LOWEST)
    whole, scale = power.nearest_power_of_two()
    fraction = power - whole
    series = _P1 + fraction * (_P2 + fraction * (_P3 + fraction * _P4))
    return (1.0 + fraction * series) * scale


@inline(types.void)
def _gelu_numbers(vectors: Vectors, numbers: Array, start: Any, count: Any) -> None:
    """GELU of `count` numbers (a multiple of LANES), where they are."""
    source = vectors.pointer(numbers, start)
    times = vectors.builder.sdiv(count, ir.Constant(INDEX, LANES))
    with cgutils.for_range(vectors.builder, times) as loop:
        pointer = vectors.further(source, loop.index, LANES)
        value = vectors.floats(pointer)
        size = abs(value)
        turn = 1.0 / (1.0 + _E0 * size)
        series = turn * (_E1 + turn * (_E2 + turn * (_E3 + turn * (_E4 + turn * _E5))))
        gelu = 0.5 * (value + size - size * series * _power_of_two(-0.5 * LOG2_E * size * size))
        vectors.store(gelu.value, pointer)


@inline(types.float32)
def _round_shares(
    vectors: Vectors, scores: Array, start: Any, count: Any, out: Array, to: Any
) -> Any:
    """A query's shares of `count` keys (a multiple of COLUMNS) from their scores, binary logarithms
    that are used up, rounded into a tile's row from `to` on; what a one is worth."""
    builder = vectors.builder
    source, out_pointer = vectors.pointer(scores, start), vectors.pointer(out, to)
    times = builder.sdiv(count, ir.Constant(INDEX, COLUMNS))
    halves = (0, LANES)
    first = vectors.load(source, FLOAT)
    highest = [cgutils.alloca_once_value(builder, vectors.spread(first)) for _ in halves]
    totals = [cgutils.alloca_once_value(builder, vectors.spread(0.0)) for _ in halves]

    def load_halves(kept: Any) -> Any:
        return (Numbers(vectors, builder.load(low)) for low in kept)

    with cgutils.for_range(builder, times) as loop:
        block = vectors.further(source, loop.index, COLUMNS)
        for half, own in zip(halves, highest, strict=True):
            some = vectors.floats(vectors.further(block, half))
            builder.store(some.larger(Numbers(vectors, builder.load(own))).value, own)
    low, high = load_halves(highest)
    top = Numbers(vectors, vectors.spread(low.larger(high).highest()))
    with cgutils.for_range(builder, times) as loop:
        block = vectors.further(source, loop.index, COLUMNS)
        for half, own in zip(halves, totals, strict=True):
            pointer = vectors.further(block, half)
            share = _power_of_two(vectors.floats(pointer) - top)
            vectors.store(share.value, pointer)
            builder.store((Numbers(vectors, builder.load(own)) + share).value, own)
    low, high = load_halves(totals)
    total = (low + high).total()
    # No share is above 1, and so no square above it.
    root = vectors.called("llvm.sqrt.f32", FLOAT, total)
    scale = builder.fdiv(ir.Constant(FLOAT, float(NORM)), root)
    spread = Numbers(vectors, vectors.spread(scale))
    with cgutils.for_range(builder, times) as loop:
        block = vectors.further(source, loop.index, COLUMNS)
        into = vectors.further(out_pointer, loop.index, ROWS * COLUMNS)
        for half in halves:
            rounded = (vectors.floats(vectors.further(block, half)) * spread).shorts()
            vectors.store(rounded, vectors.further(into, half))
    return builder.fdiv(ir.Constant(FLOAT, 1.0), builder.fmul(scale, total))


@float_part
def _norm_row(row: Any, norm: Any, eps: Any) -> None:
    total = _ZERO
    for column in range(len(row)):
        total += row[column]
    mean = total / np.float32(len(row))
    squares = _ZERO
    for column in range(len(row)):
        squares += (row[column] - mean) * (row[column] - mean)
    scale = _ONE / np.sqrt(squares / np.float32(len(row)) + eps)
    for column in range(len(row)):
        row[column] = (row[column] - mean) * scale * norm.gain[column] + norm.bias[column]


@float_kernel
def norm_rows(rows: Any, norm: Any, eps: Any) -> None:
    """Layer normalization of each row, where it is."""
    for row in range(len(rows)):
        _norm_row(rows[row], norm, eps)


@float_part
def _column_scales(shared: Any, start: Any, length: Any, width: Any) -> Any:
    """What each column of a window's values is multiplied by before it is rounded."""
    squares = np.zeros(width, np.float32)
    for row in range(start, start + length):
        values = shared[row * 3 * width + 2 * width : (row + 1) * 3 * width]
        for column in range(width):
            squares[column] += values[column] * values[column]
    for column in range(width):
        norm = np.sqrt(squares[column])
        squares[column] = NORM / (norm if norm > 0 else _ONE)
    return squares


@float_part
def _attend(shared: Any, start: Any, length: Any, num_heads: Any, width: Any, mixed: Any) -> None:
    """`mixed` for a window of `length` rows from `start` on: each head's shares of its values."""
    head_width = width // num_heads
    columns = -(-length // COLUMNS) * COLUMNS  # of whole panels
    rows = -(-length // ROWS) * ROWS  # of whole tiles
    # Of queries behind the last nobody looks at the scores.
    queries, keys, values = shorts(rows * width), shorts(columns * width), shorts(columns * width)
    keys[length * width :] = 0
    values[length * width :] = 0
    query_units = np.zeros(num_heads * rows, np.float32)
    key_units = np.zeros(num_heads * columns, np.float32)
    for row in range(length):
        own = (start + row) * 3 * width
        for head in range(num_heads):
            offset = head * head_width
            query_units[head * rows + row] = round_numbers(
                shared,
                own + offset,
                head_width,
                queries,
                rows * offset + place_in_tiles(row, head_width),
                ROWS * COLUMNS,
            )
            key_units[head * columns + row] = round_numbers(
                shared, own + width + offset, head_width, keys, row * width + offset, COLUMNS
            )
    scales = _column_scales(shared, start, length, width)
    for row in range(length):
        own = shared[((start + row) * 3 + 2) * width : (start + row + 1) * 3 * width]
        into = values[row * width : (row + 1) * width]
        for offset in range(width):
            number = own[offset] * scales[offset]
            into[offset] = np.int32(number + np.copysign(_HALF, number))
    for offset in range(width):
        scales[offset] = _ONE / scales[offset]

    # A head's panels are beside each other. Pairs of a key's numbers, and of two keys' values.
    key_panels, value_panels = shorts(columns * width), shorts(columns * width)
    for row in range(0, columns, LANES):
        to = row // COLUMNS * COLUMNS * head_width + row % COLUMNS * 2
        for offset in range(0, width, COLUMNS):
            head, block = offset // head_width, offset % head_width
            turn_pairs(
                keys,
                row * width + offset,
                width,
                key_panels,
                head * columns * head_width + to + block * COLUMNS,
            )
    for row in range(0, columns, 2):
        for offset in range(0, width, COLUMNS):
            pair_start = row * width + offset
            interleave(
                values,
                pair_start,
                pair_start + width,
                value_panels,
                offset * columns + row * COLUMNS,
            )

    scores, shares = floats(ROWS * columns), shorts(ROWS * columns)
    shares[:] = 0
    units = np.zeros(ROWS, np.float32)
    for head in range(num_heads):
        offset = head * head_width
        for first in range(0, length, ROWS):
            for column in range(0, columns, COLUMNS):
                tile(
                    queries,
                    rows * offset + first * head_width,
                    head_width,
                    query_units,
                    head * rows + first,
                    key_panels,
                    (head * columns + column) * head_width,
                    key_units,
                    None,
                    head * columns + column,
                    scores,
                    column,
                    columns,
                )
            for row in range(min(ROWS, length - first)):
                for key in range(length, columns):
                    scores[row * columns + key] = _UNSEEN
                units[row] = _round_shares(
                    scores, row * columns, columns, shares, place_in_tiles(row, columns)
                )
            # A tile's rows behind the window's last are the next one's, which are still to come.
            for column in range(offset, offset + head_width, COLUMNS):
                tile(
                    shares,
                    0,
                    columns,
                    units,
                    0,
                    value_panels,
                    column * columns,
                    scales,
                    None,
                    column,
                    mixed,
                    (start + first) * width + column,
                    width,
                )


@float_kernel
def run_layer(hidden: Any, bounds: Any, layer: Any, num_heads: Any, eps: Any) -> None:
    """What a layer makes of `hidden`, where it is: (rows, width), a multiple of ROWS rows.

    Windows lie one behind the other, each from one of `bounds` to the next; rows behind the last
    belong to none.
    """
    num_rows, width = hidden.shape
    heads_width, wide = len(layer.attention.units) // 3, len(layer.wide.units)
    flat = hidden.reshape(-1)
    rounded = shorts(_BLOCK_ROWS * max(width, heads_width, wide))
    units = floats(_BLOCK_ROWS)
    shared = floats(num_rows * 3 * heads_width)
    for start in range(0, num_rows, _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, num_rows - start)
        round_rows(flat, start * width, count, width, rounded, units)
        multiply(rounded, units, count, layer.attention, shared[start * 3 * heads_width :])
    mixed = floats((num_rows + ROWS) * heads_width)
    mixed[bounds[-1] * heads_width :] = 0
    for window in range(len(bounds) - 1):
        start = bounds[window]
        _attend(shared, start, bounds[window + 1] - start, num_heads, heads_width, mixed)
    attended = floats(_BLOCK_ROWS * width).reshape(_BLOCK_ROWS, width)
    grown = floats(_BLOCK_ROWS * wide)
    for start in range(0, num_rows, _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, num_rows - start)
        round_rows(mixed, start * heads_width, count, heads_width, rounded, units)
        multiply(rounded, units, count, layer.attention_out, attended.reshape(-1))
        for row in range(count):
            for column in range(width):
                attended[row, column] += hidden[start + row, column]
            _norm_row(attended[row], layer.attention_norm, eps)
        round_rows(attended.reshape(-1), 0, count, width, rounded, units)
        multiply(rounded, units, count, layer.wide, grown)
        _gelu_numbers(grown, 0, count * wide)
        round_rows(grown, 0, count, wide, rounded, units)
        multiply(rounded, units, count, layer.narrow, flat[start * width :])
        for row in range(count):
            for column in range(width):
                hidden[start + row, column] += attended[row, column]
            _norm_row(hidden[start + row], layer.norm, eps)
