"""Functions over shards and keys in this process, with partitions in temporary files."""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa

from snow_assets.runtime.exchange.contract import (
    MAX_PARTITIONS,
    Exchange,
    JoinedPartitions,
    Partition,
    PartitionOf,
    ShardMap,
)
from snow_assets.runtime.exchange.partitions import in_larger_tables, split
from snow_assets.storage.disk_space import is_disk_full

PARTITION_BYTES = 64_000_000


@dataclass(eq=False)
class _Spill:
    """Partitioned tables of one schema in an unlinked temporary file: none remains after a kill.

    Disk: TMPDIR. OSError names it when it is full.
    """

    num_partitions: int
    schema: pa.Schema
    _file: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    _num_bytes: int = 0
    _chunks: list[list[tuple[int, int]]] = field(init=False)  # of each partition: start, size

    def __post_init__(self) -> None:
        self._chunks = [[] for _ in range(self.num_partitions)]
        weakref.finalize(self, self._file.close)  # with its last partition

    def add(self, table: pa.Table, partition_of: PartitionOf) -> None:
        for partition, rows in split(table, partition_of, self.num_partitions):
            for batch in rows.to_batches():
                content = batch.serialize()
                self._write(content)
                self._chunks[partition].append((self._num_bytes, content.size))
                self._num_bytes += content.size

    def _write(self, content: pa.Buffer) -> None:
        try:
            self._file.write(content)
        except OSError as error:
            raise _full_disk(error) from None

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            raise _full_disk(error) from None

    def read(self, partition: int) -> pa.Table:
        batches = []
        for start, size in self._chunks[partition]:
            content = os.pread(self._file.fileno(), size, start)
            batches.append(pa.ipc.read_record_batch(pa.py_buffer(content), self.schema))
        return pa.Table.from_batches(batches, schema=self.schema)


def _full_disk(error: OSError) -> OSError:
    if not is_disk_full(error):
        return error
    folder = tempfile.gettempdir()
    return OSError(
        error.errno,
        f"the disk of {folder}, where rows are sorted by key, is full: free some space, or name a "
        "folder of another disk in TMPDIR, and materialize again",
    )


@dataclass(frozen=True)
class _SpilledPartition(Partition):
    spill: _Spill
    index: int


@dataclass(frozen=True)
class _TablePartition(Partition):
    table: pa.Table


@dataclass(frozen=True, kw_only=True)
class InProcessExchange(Exchange):
    """Calls every function here, one after another.

    Memory: a shard and 16 MB while rows are exchanged, then a partition.
    """

    partition_bytes: int = PARTITION_BYTES

    def by_key(
        self, shard_map: ShardMap, partition_of: PartitionOf, *, num_partitions: int
    ) -> Sequence[Partition]:
        spill = _Spill(num_partitions, shard_map.schema)
        for table in in_larger_tables(self.gather(shard_map)):
            spill.add(table, partition_of)
        spill.flush()
        return [_SpilledPartition(spill, index) for index in range(num_partitions)]

    def gather(self, shard_map: ShardMap) -> Iterator[pa.Table]:
        for elements in zip(*shard_map.inputs, strict=True):
            yield shard_map.function(*map(_as_argument, elements), **shard_map.shared)

    def persist(
        self, shard_map: ShardMap, measure: Callable[[pa.Table], int]
    ) -> Iterator[tuple[Partition, int]]:
        for table in self.gather(shard_map):
            yield _TablePartition(table), measure(table)

    @property
    def threads_per_call(self) -> int:
        return len(os.sched_getaffinity(0))

    def num_partitions(self, num_bytes: int) -> int:
        return min(MAX_PARTITIONS, 1 + num_bytes // self.partition_bytes)


IN_PROCESS = InProcessExchange()


def _as_argument(element: Any) -> Any:
    if isinstance(element, _SpilledPartition):
        return element.spill.read(element.index)
    if isinstance(element, _TablePartition):
        return element.table
    if isinstance(element, JoinedPartitions):
        return pa.concat_tables([_as_argument(partition) for partition in element.partitions])
    return element
