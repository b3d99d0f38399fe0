"""Spill rows to disk in partitions, each small enough to be read into memory."""

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

PART_BYTES = 64_000_000
_MAX_PARTS = 512  # open files; with more rows the parts grow


def num_parts(num_rows: int, row_bytes: int) -> int:
    """The number of parts of at most PART_BYTES for so many rows."""
    return min(_MAX_PARTS, 1 + num_rows * row_bytes // PART_BYTES)


def part_of(keys: npt.NDArray[np.uint64], parts: int) -> npt.NDArray[np.int64]:
    """The part of each key, uniform over 64 bits; parts are ranges of keys, in order."""
    return (((keys >> np.uint64(32)) * np.uint64(parts)) >> np.uint64(32)).astype(np.int64)


class Spill:
    """Partitioned tables of one schema in temporary files: add tables, then read each part once.

    The files are unlinked, so that none remains after a kill. Memory: a table that is added, or a
    part that is read. Disk: TMPDIR.
    """

    def __init__(self, schema: pa.Schema, parts: int) -> None:
        self._files = [tempfile.TemporaryFile() for _ in range(parts)]  # noqa: SIM115 - __exit__
        self._writers = [pa.ipc.new_stream(file, schema) for file in self._files]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files:
            file.close()

    def add(self, table: pa.Table, part: npt.NDArray[np.int64]) -> None:
        """Append each row to its part, in the order of the table."""
        if len(self._writers) == 1:
            self._writers[0].write_table(table)
            return
        ordered = table.take(np.argsort(part, kind="stable"))
        ends = np.cumsum(np.bincount(part, minlength=len(self._writers))).tolist()
        for writer, start, end in zip(self._writers, [0, *ends], ends, strict=False):
            if end > start:
                writer.write_table(ordered.slice(start, end - start))

    def parts(self) -> Iterator[pa.Table]:
        for writer, file in zip(self._writers, self._files, strict=True):
            writer.close()
            file.seek(0)
            with pa.ipc.open_stream(file) as reader:
                yield reader.read_all()
            file.close()
