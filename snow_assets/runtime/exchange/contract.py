"""The interface between stages that compare documents with each other and what runs them.

Such a stage is a function of each shard, an exchange of rows by key, and a function of each
partition of keys. The functions are pure functions over Arrow tables, defined at module level; what
they write (a shard of an artifact) depends on their arguments alone, since a function runs again
after its process was lost. `InProcessExchange` and `RayExchange` run the same functions; rows of a
partition stand in the order of the shards, so their results are equal.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

PartitionIndices = npt.NDArray[np.uint16]
PartitionOf = Callable[[pa.Table, int], PartitionIndices]
"""The partition of each row, below the number of partitions."""

MAX_PARTITIONS = 512
"""Of an exchange, shards that are written of it included: beyond it partitions grow. Tasks x
partitions objects are exchanged."""


class Partition:
    """A partition of an exchange, where the executor keeps it; functions get its table."""


@dataclass(frozen=True)
class JoinedPartitions(Partition):
    """Partitions of one schema; functions get the table of all their rows, in order."""

    partitions: Sequence[Partition]


@dataclass(frozen=True, kw_only=True)
class ShardMap:
    """A function of each shard, not called yet."""

    function: Callable[..., pa.Table]
    inputs: tuple[Sequence[Any], ...]
    """As many elements each as there are calls; a partition is handed over as its table."""
    schema: pa.Schema
    """Of the function's tables."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of every call, sent to each node once. Arrays arrive read-only."""

    def __post_init__(self) -> None:
        if len({len(elements) for elements in self.inputs}) != 1:
            lengths = [len(elements) for elements in self.inputs]
            raise ValueError(f"inputs of {lengths} elements cannot be combined one by one")


class Exchange(ABC):
    """Runs functions over shards, and exchanges their rows by key."""

    def map_shards(
        self,
        function: Callable[..., pa.Table],
        *inputs: Sequence[Any],
        schema: pa.Schema,
        **shared: Any,
    ) -> ShardMap:
        """`function(element, ..., **shared)` of the elements of all inputs at each position."""
        return ShardMap(function=function, inputs=inputs, schema=schema, shared=shared)

    @abstractmethod
    def by_key(
        self, shard_map: ShardMap, partition_of: PartitionOf, *, num_partitions: int
    ) -> Sequence[Partition]:
        """Call the function, and bring the rows of each partition together.

        Rows of a partition stand in the order of the shards.
        """

    @abstractmethod
    def gather(self, shard_map: ShardMap) -> Iterator[pa.Table]:
        """Call the function and yield its rows in the order of the shards.

        A table has the rows of one shard or of several.
        """

    @abstractmethod
    def persist(
        self, shard_map: ShardMap, measure: Callable[[pa.Table], int]
    ) -> Iterator[tuple[Partition, int]]:
        """Call the function and yield each shard's table as a partition, with its measure.

        In the order of the shards, of which there are at most MAX_PARTITIONS; of those behind the
        last one that is read, only the next few are worked on. A partition is kept, in memory if
        this process runs the functions, as long as it is referenced.
        """

    @property
    @abstractmethod
    def threads_per_call(self) -> int:
        """The cores that a call of a function may use, by threads of its own."""

    @abstractmethod
    def num_partitions(self, num_bytes: int) -> int:
        """The number of partitions for so many bytes of rows, at most MAX_PARTITIONS."""
