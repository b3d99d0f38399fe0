"""Functions over shards and keys as Ray tasks; the only module that imports Ray.

A task calls the function for a group of shards and returns an object per partition, in Arrow's IPC
format; a partition is the list of its objects. Ray keeps, moves and spills the objects, runs the
task of a killed worker again, and makes the objects of a lost node again from their tasks.
"""

import errno
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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
from snow_assets.runtime.remaining_time import LOGGER

LOCAL = "local"
"""The address that starts Ray on this machine, for as long as the work takes."""

PARTITION_BYTES = 256_000_000
_MAX_TASKS = 512  # of an exchange: beyond it, a task calls the function for several shards
_TASKS_PER_CPU = 4  # in flight while tables are gathered; at least, of an exchange of many shards
_START_ATTEMPTS = 5
_MAX_RETRIES = 8  # of a task whose worker or node was lost
NODE_SETTINGS: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Workers would run at nice 19, behind everything else of a node.
    "RAY_worker_niceness": "0",
    "RAY_worker_register_timeout_seconds": "300",
    # Ray keeps results below this size in the driver's memory instead of the object store. At its
    # default of 100 KB these are most objects of an exchange, so that the driver holds the rows.
    "RAY_max_direct_call_object_size": "1024",
}
"""Environment of each process that starts Ray on a node; workers inherit it."""
_FULL_DISK = (
    "a node of the Ray cluster has no disk space left for rows that are sorted by key: free some "
    "space, or give its nodes a larger volume or a folder of one (`ray start "
    "--object-spilling-directory`), and materialize again"
)
_DISK_THRESHOLD = "RAY_local_fs_capacity_threshold"  # Ray's variable and its default
_DEFAULT_DISK_THRESHOLD = 0.95
_IDLE_SECONDS = 20.0  # without a running task, twice in a row, before the nodes' disks are checked
_NODE_SECONDS = 60.0  # for a node to answer about its disk; one that is lost does not


@dataclass(frozen=True)
class _RayPartition(Partition):
    """References to the objects of a partition, one per task of the exchange."""

    objects: Sequence[Any]
    schema: pa.Schema


@dataclass(frozen=True)
class _Objects:
    """The position of a partition's objects among the objects that a task gets."""

    start: int
    stop: int
    schema: pa.Schema


@dataclass(frozen=True, kw_only=True)
class _Calls:
    """What a task does; Ray hands it the shared values and the partitions' objects beside this."""

    function: Callable[..., pa.Table]
    elements: Sequence[tuple[Any, ...]]  # of each call
    shared: Sequence[str]  # names of the shared values

    def tables(self, arguments: Sequence[Any]) -> Iterator[pa.Table]:
        """The table of each call; `arguments` are the shared values, then the objects."""
        shared = dict(zip(self.shared, arguments, strict=False))
        objects = arguments[len(self.shared) :]
        for elements in self.elements:
            yield self.function(
                *(
                    _read(objects[element.start : element.stop], element.schema)
                    if isinstance(element, _Objects)
                    else element
                    for element in elements
                ),
                **shared,
            )


@dataclass(frozen=True, kw_only=True)
class RayExchange(Exchange):
    """Calls functions in tasks of the Ray cluster that this process is connected to.

    Memory of this process: about 5 KB per object of an exchange, and a gathered table. An exchange
    has at most as many tasks as partitions or shards, so 1.3 GB are the most, of 512 x 512 objects.
    Memory of a task: a partition, or a group of shards with about as many rows, with what the
    function makes of it. Ray spills objects that exceed the object store to its nodes' disks.
    """

    partition_bytes: int = PARTITION_BYTES

    def by_key(
        self, shard_map: ShardMap, partition_of: PartitionOf, *, num_partitions: int
    ) -> Sequence[Partition]:
        task = _task(_split_shards, shard_map, num_returns=num_partitions)
        objects: list[list[Any]] = [[] for _ in range(num_partitions)]
        # A task's rows are about as many as a partition's: more tasks would make smaller objects.
        shard_tasks = max(num_partitions, _TASKS_PER_CPU * _num_cpus())
        for calls, arguments in _groups(shard_map, shard_tasks):
            references = task.remote(calls, partition_of, num_partitions, *arguments)
            references = references if num_partitions > 1 else [references]
            for partition, reference in zip(objects, references, strict=True):
                partition.append(reference)
        return [_RayPartition(partition, shard_map.schema) for partition in objects]

    def gather(self, shard_map: ShardMap) -> Iterator[pa.Table]:
        task = _task(_join_shards, shard_map, num_returns=1)
        started = (task.remote(calls, *arguments) for calls, arguments in _groups(shard_map))
        for reference in _ahead(started):
            yield _read([_result(reference)], shard_map.schema)

    def persist(
        self, shard_map: ShardMap, measure: Callable[[pa.Table], int]
    ) -> Iterator[tuple[Partition, int]]:
        task = _task(_measured_shard, shard_map, num_returns=2)
        started = (
            task.remote(calls, measure, *arguments) for calls, arguments in _groups(shard_map)
        )
        for stream, measured in _ahead(started):
            yield _RayPartition([stream], shard_map.schema), _result(measured)

    @property
    def threads_per_call(self) -> int:
        return 1  # of a task

    def num_partitions(self, num_bytes: int) -> int:
        return min(MAX_PARTITIONS, max(_num_cpus(), 1 + num_bytes // self.partition_bytes))


def _ahead(started: Iterator[Any]) -> Iterator[Any]:
    """References to the results of tasks, some of which are started ahead of the reader."""
    in_flight: deque[Any] = deque()
    max_in_flight = _TASKS_PER_CPU * max(2, _num_cpus())
    for references in started:
        in_flight.append(references)
        if len(in_flight) >= max_in_flight:
            yield in_flight.popleft()
    while in_flight:
        yield in_flight.popleft()


def _num_cpus() -> int:
    """The cores of the cluster's nodes."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 0)))


def _groups(
    shard_map: ShardMap, shard_tasks: int = _MAX_TASKS
) -> Iterator[tuple[_Calls, list[Any]]]:
    """The calls of each task, and its arguments: shared values, then the partitions' objects.

    Shards are grouped into `shard_tasks` tasks. Of partitions a task gets one, since a node fetches
    all objects of a task before it starts; several only beyond _MAX_TASKS.
    """
    import ray

    shared = [ray.put(value) for value in shard_map.shared.values()]
    rows = [tuple(map(_joined, row)) for row in zip(*shard_map.inputs, strict=True)]
    has_partitions = any(isinstance(element, _RayPartition) for row in rows for element in row)
    num_tasks = min(len(rows), _MAX_TASKS if has_partitions else min(_MAX_TASKS, shard_tasks))
    for task in range(num_tasks):
        first, last = task * len(rows) // num_tasks, (task + 1) * len(rows) // num_tasks
        objects: list[Any] = []
        elements = [tuple(_placed(element, objects) for element in row) for row in rows[first:last]]
        calls = _Calls(
            function=shard_map.function,
            elements=elements,
            shared=list(shard_map.shared),
        )
        yield calls, [*shared, *objects]


def _joined(element: Any) -> Any:
    """The element; joined partitions as one."""
    if not isinstance(element, JoinedPartitions):
        return element
    partitions = [each for each in element.partitions if isinstance(each, _RayPartition)]
    objects = [reference for partition in partitions for reference in partition.objects]
    return _RayPartition(objects, partitions[0].schema)


def _placed(element: Any, objects: list[Any]) -> Any:
    """The element, or the position of the objects of a partition, which are appended."""
    if not isinstance(element, _RayPartition):
        return element
    start = len(objects)
    objects += element.objects
    return _Objects(start, len(objects), element.schema)


def _task(task_function: Any, shard_map: ShardMap, *, num_returns: int) -> Any:
    """A Ray task with the name of the function that it calls."""
    import ray

    # Shards and partitions come from all nodes, so no node is nearer to them.
    remote = ray.remote(
        num_cpus=1,
        max_retries=_MAX_RETRIES,
        num_returns=num_returns,
        scheduling_strategy="SPREAD",
    )(task_function)
    return remote.options(name=shard_map.function.__name__)


def _read(streams: Sequence[pa.Buffer | None], schema: pa.Schema) -> pa.Table:
    """The rows of IPC streams, not copied; None is a stream without rows."""
    tables = [pa.ipc.open_stream(stream).read_all() for stream in streams if stream is not None]
    return pa.concat_tables([schema.empty_table(), *tables])


def _stream(tables: Sequence[pa.Table]) -> pa.Buffer | None:
    """An IPC stream of the tables' rows, or None if there are none."""
    if not tables:
        return None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    return sink.getvalue()


def _split_shards(
    calls: _Calls, partition_of: PartitionOf, num_partitions: int, *arguments: Any
) -> Any:
    """In a task: an IPC stream per partition of the tables of the calls."""
    partitions: list[list[pa.Table]] = [[] for _ in range(num_partitions)]
    for table in in_larger_tables(calls.tables(arguments)):
        for partition, rows in split(table, partition_of, num_partitions):
            partitions[partition].append(rows)
    streams = [_stream(tables) for tables in partitions]
    return streams if num_partitions > 1 else streams[0]


def _join_shards(calls: _Calls, *arguments: Any) -> pa.Buffer | None:
    """In a task: an IPC stream of the tables of the calls."""
    return _stream(list(calls.tables(arguments)))


def _measured_shard(
    calls: _Calls, measure: Callable[[pa.Table], int], *arguments: Any
) -> tuple[pa.Buffer | None, int]:
    """In a task of a single call: an IPC stream of its table, and the table's measure."""
    (table,) = calls.tables(arguments)
    return _stream([table]), measure(table)


def _result(reference: Any) -> Any:
    import ray
    from ray import exceptions

    try:
        _wait(reference)
        return ray.get(reference)
    except exceptions.OutOfDiskError as error:
        raise OSError(errno.ENOSPC, _FULL_DISK) from error
    except exceptions.RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from error


def _wait(reference: Any) -> None:
    """Until the object is made; OSError if no task of the cluster runs and a node's disk is full.

    Ray raises OutOfDiskError where a task's result finds no space. Where a spilled object finds
    none on its way back, Ray starts none of the tasks that read it and raises nothing.
    """
    import ray

    was_idle = False
    while not ray.wait([reference], timeout=_IDLE_SECONDS, fetch_local=False)[0]:
        is_idle = ray.available_resources().get("CPU", 0) >= _num_cpus()
        if is_idle and was_idle and (folders := _full_folders()):
            raise OSError(errno.ENOSPC, _FULL_DISK, folders[0])
        was_idle = is_idle


def _full_folders() -> list[str]:
    """The folders of the nodes whose disk counts as full."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(num_cpus=0, max_retries=0)(_full_folder)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    folders = [
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for node in nodes
    ]
    answered, _ = ray.wait(folders, num_returns=len(folders), timeout=_NODE_SECONDS)
    return [folder for folder in ray.get(answered) if folder is not None]


def _full_folder() -> str | None:
    """In a task: the folder to which its node spills, if its disk counts as full to Ray."""
    import psutil  # type: ignore[import-untyped]
    import ray

    option = "--fallback_directory="  # of the raylet, which is a worker's parent
    folder = ray.get_runtime_context().get_temp_dir()
    for argument in psutil.Process(os.getppid()).cmdline():
        if argument.startswith(option):
            folder = argument.removeprefix(option)
    disk = shutil.disk_usage(folder)
    threshold = float(os.environ.get(_DISK_THRESHOLD, _DEFAULT_DISK_THRESHOLD))
    return folder if 1 - disk.free / disk.total > threshold else None


@contextmanager
def ray_exchange(address: str) -> Iterator[RayExchange]:
    """Connect to the Ray cluster at an address, or start Ray on this machine (`local`).

    A connection of this process is used as it is. ModuleNotFoundError says what to install.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Ray ({address}) is not installed: install the project's extra `engine`, or unset "
            "SNOW_RAY_ADDRESS"
        ) from error

    if ray.is_initialized():
        yield RayExchange()
        return
    _connect(address)
    try:
        yield RayExchange()
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    import ray

    for name, value in NODE_SETTINGS.items():
        os.environ.setdefault(name, value)
    for attempt in range(1, _START_ATTEMPTS + 1):
        try:
            ray.init(
                address=None if address == LOCAL else address,
                include_dashboard=False if address == LOCAL else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # Ray raises Exception itself when its start takes too long
            ray.shutdown()
            if attempt == _START_ATTEMPTS:
                raise
            logging.getLogger(LOGGER).warning(f"Ray ({address}) did not start: {error}; once more")
        else:
            return
