"""Products of 16-bit integers on a CPU: two for each of fp32 in a cycle.

What goes into a product is rounded row by row, scaled to a Euclidean norm of 32,760 first, and a
row of weights to at most 65,000. So every number fits 16 bits, every sum 32, by Cauchy and Schwarz,
and nothing is ever clipped. Sums are exact: a row's results depend on no other row. What is lost is
about what fp16 loses.

Rounded rows lie in tiles of ROWS: of each row COLUMNS numbers, then of each the next ones.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils

from snow_assets.curation.jit import float_part
from snow_assets.quality.vectors import (
    FLOAT,
    FLOATS,
    INDEX,
    LANES,
    SHORTS,
    WORD,
    WORDS,
    Array,
    Numbers,
    Vectors,
    inline,
)

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int16]

# A tile's sums, two vectors a row, and what they are made of fit AVX2's 16 registers, or 32.
ROWS, COLUMNS = 12 if LANES == 16 else 6, 2 * LANES
LINE_BYTES = 64
NORM = np.float32(32_760)
_WEIGHT_NORM, _LARGEST = 65_000, 32_767


class Product(NamedTuple):
    """A matrix to multiply rows with, and a bias."""

    panels: Integers  # of COLUMNS columns each: of two rows as many pairs, then of the next two
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
    panels = _from_a_line(np.empty(pairs.size + LINE_BYTES // 2, np.int16))[: pairs.size]
    panels[:] = pairs.transpose(0, 2, 1, 3).reshape(-1)
    return Product(
        panels=panels,
        units=(1 / scale).astype(np.float32),
        bias=np.ascontiguousarray(bias, dtype=np.float32),
    )


def _from_a_line(buffer: Any) -> Any:
    """What of `buffer` starts on a cache line: a vector that lies on two is read twice."""
    return buffer[-buffer.ctypes.data % LINE_BYTES // buffer.itemsize :]


from_a_line = float_part(_from_a_line)


@float_part
def shorts(count: Any) -> Any:
    """Room for 16-bit numbers, from a cache line on."""
    return from_a_line(np.empty(count + LINE_BYTES // 2, np.int16))[:count]


@float_part
def floats(count: Any) -> Any:
    """Room for floats, from a cache line on."""
    return from_a_line(np.empty(count + LINE_BYTES // 4, np.float32))[:count]


@float_part
def place_in_tiles(row: Any, width: Any) -> Any:
    """Where a row of `width` numbers starts; its next COLUMNS are ROWS * COLUMNS further."""
    return row // ROWS * ROWS * width + row % ROWS * COLUMNS


@inline(types.void)
def tile(
    vectors: Vectors,
    rows: Array,
    first: Any,
    width: Any,
    row_units: Array,
    unit: Any,
    panels: Array,
    panel: Any,
    units: Array,
    bias: Any,
    column: Any,
    out: Array,
    to: Any,
    out_stride: Any,
) -> None:
    """A tile of rows, which starts at `first`, by a panel, into `out` from `to` on; all arrays lie
    flat.

    A row is `width` numbers, worth `row_units` from `unit` on; `units` and `bias` (or None) are of
    the panel's columns.
    """
    builder = vectors.builder
    zeros = ir.Constant(WORDS, [0] * LANES)
    halves = (0, LANES)
    sums = [[cgutils.alloca_once_value(builder, zeros) for _ in halves] for _ in range(ROWS)]
    start, panel_start = vectors.pointer(rows, first), vectors.pointer(panels, panel)
    blocks = builder.sdiv(width, ir.Constant(INDEX, COLUMNS))
    with cgutils.for_range(builder, blocks) as block:
        block_start = vectors.further(start, block.index, ROWS * COLUMNS)
        block_panel = vectors.further(panel_start, block.index, COLUMNS * COLUMNS)
        with cgutils.for_range(builder, ir.Constant(INDEX, LANES)) as pair:
            own_start = vectors.further(block_start, pair.index, 2)
            own_panel = vectors.further(block_panel, pair.index, 2 * COLUMNS)
            weights = [vectors.load(vectors.further(own_panel, half, 2), SHORTS) for half in halves]
            for row, own in enumerate(sums):
                pairs = vectors.load(vectors.further(own_start, row, COLUMNS), WORD)
                row_pairs = builder.bitcast(vectors.spread(pairs), SHORTS)
                for total, weight in zip(own, weights, strict=True):
                    added = builder.add(builder.load(total), vectors.pair_sums(row_pairs, weight))
                    builder.store(added, total)
    start = vectors.pointer(out, to)
    worths, more = vectors.pointer(units, column), None
    if isinstance(bias, Array):
        more = vectors.pointer(bias, column)
    for number, own in enumerate(sums):
        row_unit = vectors.load(vectors.further(vectors.pointer(row_units, unit), number), FLOAT)
        spread = Numbers(vectors, vectors.spread(row_unit))
        into = vectors.further(start, out_stride, number)
        for half, total in zip(halves, own, strict=True):
            worth = vectors.floats(vectors.further(worths, half)) * spread
            scaled = Numbers(vectors, builder.sitofp(builder.load(total), FLOATS)) * worth
            if more is not None:
                scaled += vectors.floats(vectors.further(more, half))
            vectors.store(scaled.value, vectors.further(into, half))


@inline(types.float32)
def round_numbers(
    vectors: Vectors, numbers: Array, start: Any, count: Any, out: Array, to: Any, step: Any
) -> Any:
    """Round `count` numbers (a multiple of COLUMNS) into `out` from `to` on, each COLUMNS of them
    `step` behind those before; what a one is worth.

    Without slices, whose counts of references cost as much as the work on a head's few numbers.
    """
    builder = vectors.builder
    source, out_pointer = vectors.pointer(numbers, start), vectors.pointer(out, to)
    zeros = vectors.spread(0.0)
    squares = [cgutils.alloca_once_value(builder, zeros) for _ in range(2)]
    times = builder.sdiv(count, ir.Constant(INDEX, COLUMNS))
    with cgutils.for_range(builder, times) as loop:
        block = vectors.further(source, loop.index, COLUMNS)
        for half, own in enumerate(squares):
            some = vectors.floats(vectors.further(block, half, LANES))
            builder.store((Numbers(vectors, builder.load(own)) + some * some).value, own)
    first, second = (Numbers(vectors, builder.load(own)) for own in squares)
    total = (first + second).total()
    # Zeros stay zeros by any scale.
    zero, one_value = ir.Constant(FLOAT, 0.0), ir.Constant(FLOAT, 1.0)
    total = builder.select(builder.fcmp_ordered(">", total, zero), total, one_value)
    root, norm = vectors.called("llvm.sqrt.f32", FLOAT, total), ir.Constant(FLOAT, float(NORM))
    scale = Numbers(vectors, vectors.spread(builder.fdiv(norm, root)))
    with cgutils.for_range(builder, times) as loop:
        block = vectors.further(source, loop.index, COLUMNS)
        into = builder.gep(out_pointer, [builder.mul(loop.index, step)])
        for half in (0, LANES):
            some = vectors.floats(vectors.further(block, half)) * scale
            vectors.store(some.shorts(), vectors.further(into, half))
    return builder.fdiv(root, norm)


@inline(types.void)
def turn_pairs(
    vectors: Vectors, numbers: Array, start: Any, stride: Any, out: Array, to: Any
) -> None:
    """COLUMNS numbers of LANES rows, each `stride` behind the one before, from `start` on: their
    pairs, as half a panel's, from `to` on."""
    source, out_pointer = vectors.pointer(numbers, start), vectors.pointer(out, to)
    rows = [vectors.load(vectors.further(source, stride, row), WORDS) for row in range(LANES)]
    for pair, of_rows in enumerate(vectors.transposed(rows)):
        vectors.store(of_rows, vectors.further(out_pointer, pair, 2 * COLUMNS))


@inline(types.void)
def interleave(
    vectors: Vectors, numbers: Array, first: Any, second: Any, out: Array, to: Any
) -> None:
    """COLUMNS numbers from `first` on and as many from `second` on, in turns."""
    left, right = (
        vectors.load(vectors.pointer(numbers, start), SHORTS) for start in (first, second)
    )
    turns = [lane for pair in range(COLUMNS) for lane in (pair, COLUMNS + pair)]
    vectors.store(vectors.picked(left, turns, right), vectors.pointer(out, to))


@float_part
def round_rows(numbers: Any, start: Any, num_rows: Any, width: Any, out: Any, units: Any) -> None:
    """Round rows of `width` numbers, from `start` on, into tiles."""
    for row in range(num_rows):
        units[row] = round_numbers(
            numbers, start + row * width, width, out, place_in_tiles(row, width), ROWS * COLUMNS
        )


@float_part
def multiply(rows: Any, units: Any, num_rows: Any, by: Any, out: Any) -> None:
    """Rounded `rows` in tiles, which are worth `units`, times a matrix, into `out`: all lie flat.
    A panel's tiles come one after another."""
    columns = len(by.units)
    width = len(by.panels) // columns
    for column in range(0, columns, COLUMNS):
        for row in range(0, num_rows, ROWS):
            tile(
                rows,
                row * width,
                width,
                units,
                row,
                by.panels,
                column * width,
                by.units,
                by.bias,
                column,
                out,
                row * columns + column,
                columns,
            )
