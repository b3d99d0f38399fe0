"""A layer of BERT on a CPU: products of rounded rows (`integer_products`), fp32 between them.

A token's numbers, a head's query and key and its shares of the keys are rounded as rows, a head's
values as columns.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from snow_assets.curation.jit import float_kernel, float_part
from snow_assets.quality.integer_products import (
    COLUMNS,
    NORM,
    ROWS,
    Floats,
    Product,
    float_of_bits,
    interleave,
    larger,
    multiply,
    round_numbers,
    tile,
)

_BLOCK_ROWS = 48  # of a product, so that what they are made of stays in a core's cache

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


@float_part
def _exp(value: Any) -> Any:
    """Of a number that is not above 0; of less than -87, about 1e-38."""
    power = value * _LOG2_E
    power = power if power > _LOWEST else _LOWEST
    whole = np.int32(power - _HALF)
    rest = power - np.float32(whole)
    series = _P1 + rest * (_P2 + rest * (_P3 + rest * (_P4 + rest * _P5)))
    return (_ONE + rest * series) * float_of_bits(np.int32((whole + 127) << 23))


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
def _column_scales(shared: Any, start: Any, length: Any, width: Any) -> Any:
    """What each column of a window's values is multiplied by before it is rounded."""
    squares = np.zeros(width, np.float32)
    for row in range(start, start + length):
        values = shared[row * 3 * width + 2 * width : (row + 1) * 3 * width]
        for place in range(width):
            squares[place] += values[place] * values[place]
    for place in range(width):
        norm = np.sqrt(squares[place])
        squares[place] = NORM / (norm if norm > 0 else _ONE)
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
            unit = round_numbers(shared, own + place, head_width, queries, row * width + place)
            query_units[head * rows + row] = unit * temperature
            unit = round_numbers(shared, own + width + place, head_width, keys, row * width + place)
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
            interleave(values, one, one + width, value_panels, place * columns + row * COLUMNS)

    scores, shares = np.empty(ROWS * columns, np.float32), np.zeros(ROWS * columns, np.int16)
    units = np.zeros(ROWS, np.float32)
    for head in range(num_heads):
        place = head * head_width
        for first in range(0, length, ROWS):
            for column in range(0, columns, COLUMNS):
                tile(
                    queries, first * width + place, width, query_units, head * rows + first,
                    key_panels, (head * columns + column) * head_width, half,
                    key_units, None, head * columns + column, scores, column, columns,
                )  # fmt: skip
            for row in range(min(ROWS, length - first)):
                seen = scores[row * columns : row * columns + length]
                highest = seen[0]
                for key in range(length):
                    highest = larger(highest, seen[key])
                total = _ZERO
                for key in range(length):
                    share = _exp(seen[key] - highest)
                    seen[key] = share
                    total += share
                scale = NORM / np.sqrt(total)  # no share is above 1, and so no square above it
                into = shares[row * columns : row * columns + length]
                for key in range(length):
                    into[key] = np.int16(np.int32(seen[key] * scale + _HALF))
                units[row] = _ONE / (scale * total)
            # A tile's rows behind the window's last are the next one's, which are still to come.
            for column in range(place, place + head_width, COLUMNS):
                tile(
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
            units[row] = round_numbers(flat, (start + row) * width, width, rounded, row * width)
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
            units[row] = round_numbers(mixed, (start + row) * width, width, rounded, row * width)
        multiply(rounded, units, count, layer.attention_out, attended.reshape(-1))
        for row in range(count):
            for place in range(width):
                attended[row, place] += hidden[start + row, place]
            _norm_row(attended[row], layer.attention_norm, eps)
            units[row] = round_numbers(
                attended.reshape(-1), row * width, width, rounded, row * width
            )
        multiply(rounded, units, count, layer.wide, grown.reshape(-1))
        for row in range(count):
            for place in range(wide):
                grown[row, place] = _gelu(grown[row, place])
            units[row] = round_numbers(
                grown.reshape(-1), row * wide, wide, rounded_grown, row * wide
            )
        multiply(rounded_grown, units, count, layer.narrow, flat[start * width :])
        for row in range(count):
            for place in range(width):
                hidden[start + row, place] += attended[row, place]
            _norm_row(hidden[start + row], layer.norm, eps)
