"""The partition of each row, and the rows of each partition as Arrow IPC."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.runtime.exchange.contract import (
    Exchange,
    Partition,
    PartitionIndices,
    PartitionOf,
    ShardMap,
)
from snow_assets.storage.ids import first_64_bits


def range_of_keys(keys: npt.NDArray[np.uint64], num_partitions: int) -> PartitionIndices:
    """The partition of each key, uniform over 64 bits; partitions are ranges of keys, in order."""
    upper = keys >> np.uint64(32)
    indices: PartitionIndices = (upper * np.uint64(num_partitions) >> np.uint64(32)).astype(
        np.uint16
    )
    return indices


def range_of_indices(
    indices: npt.NDArray[np.integer[Any]], num_partitions: int, num_indices: int
) -> PartitionIndices:
    """The partition of each index below `num_indices`; partitions are ranges of indices, in order,
    and differ in length by one at most."""
    partitions: PartitionIndices = (
        indices.astype(np.int64) * num_partitions // num_indices
    ).astype(np.uint16)
    return partitions


def ranges_of(column: str) -> PartitionOf:
    """Partitions are ranges of a uint64 column of uniform values, in order."""
    return partial(_ranges_of, column=column)


def ranges_of_ids(column: str) -> PartitionOf:
    """Partitions are ranges of a column of ids (SHA-256 in hexadecimal), in order."""
    return partial(_ranges_of_ids, column=column)


def by_id(
    exchange: Exchange, *tables: ShardMap, column: str, num_bytes: int
) -> list[Sequence[Partition]]:
    """The rows of several tables, of `num_bytes` in all, in the same partitions of a column of ids:
    a partition of one table has the ids of the other tables' partitions of that number."""
    num_partitions = exchange.num_partitions(num_bytes)
    return [
        exchange.by_key(table, ranges_of_ids(column), num_partitions=num_partitions)
        for table in tables
    ]


def indices_in(column: str) -> PartitionOf:
    """The partition of each row stands in a column."""
    return partial(_indices_in, column=column)


def _ranges_of(table: pa.Table, num_partitions: int, *, column: str) -> PartitionIndices:
    return range_of_keys(table[column].to_numpy(), num_partitions)


def _ranges_of_ids(table: pa.Table, num_partitions: int, *, column: str) -> PartitionIndices:
    return range_of_keys(first_64_bits(table[column]), num_partitions)


def _indices_in(table: pa.Table, _: int, *, column: str) -> PartitionIndices:
    indices: PartitionIndices = table[column].to_numpy().astype(np.uint16)
    return indices


_BUFFER_BYTES = 16_000_000


def in_larger_tables(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Consecutive tables joined until they have 16 MB, so that they are split together."""
    joined: list[pa.Table] = []
    num_bytes = 0
    for table in tables:
        joined.append(table)
        num_bytes += table.nbytes
        if num_bytes >= _BUFFER_BYTES:
            yield pa.concat_tables(joined).combine_chunks()
            joined, num_bytes = [], 0
    if joined:
        yield pa.concat_tables(joined).combine_chunks()


def split(
    table: pa.Table, partition_of: PartitionOf, num_partitions: int
) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each partition that has any, in the order of the table. Memory: the table."""
    if num_partitions == 1:
        if table.num_rows:
            yield 0, table
        return
    partitions = partition_of(table, num_partitions)
    if np.any(partitions[1:] < partitions[:-1]):
        # Of 16-bit integers numpy's stable sort is a radix sort.
        table = table.take(np.argsort(partitions, kind="stable"))
    ends = np.cumsum(np.bincount(partitions, minlength=num_partitions)).tolist()
    for partition, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if end > start:
            yield partition, table.slice(start, end - start)
