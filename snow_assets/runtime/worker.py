"""Entry point of a worker, the process that runs a GPU job: reads a request, writes a report.

A job is a folder: `request.json` exists before the start, `report.json` is written last, and
`metrics-*.jsonl` are added in between. Each pod of a sharded job writes `report-NNNNN.json`.
`python -m snow_assets.quality.training JOB_FOLDER` runs a job by hand. The report is
authoritative; Dagster Pipes only carries progress and logs.
"""

import ctypes
import json
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

from dagster_pipes import (
    PipesBlobStoreMessageWriter,
    PipesBlobStoreMessageWriterChannel,
    PipesContext,
    PipesMappingParamsLoader,
    PipesMessageWriter,
    open_dagster_pipes,
)
from pydantic import TypeAdapter, ValidationError

from snow_assets.runtime.gpu_use import sample_gpu_usage
from snow_assets.storage import shards

REQUEST, REPORT, METRICS_PREFIX = "request.json", "report.json", "metrics-"
ATTEMPT_PREFIX = "attempt-"
BAD_INPUT, RETRYABLE, PREEMPTED = 42, 75, 143
"""Exit codes besides 0: do not retry; retry; stopped after a checkpoint."""

PARENT_VARIABLE = "SNOW_JOB_PARENT"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_METRICS_FLUSH_SECONDS = 10.0
_FILE_ENTRIES = 1_000  # of metrics; long jobs must not leave a file for every flush
_MESSAGES_SECONDS = 5.0

Request = TypeVar("Request")
Report = TypeVar("Report")


@dataclass
class Progress:
    """Progress of a running job: log lines for users, metrics by step for the tracker."""

    folder: str
    pipes: PipesContext
    shard: int = 0  # index of this pod in a sharded job
    num_shards: int = 1
    is_silent: bool = False  # of ranks other than 0: rank 0 reports
    _entries: list[str] = field(default_factory=list)  # of the last file
    _num_flushed: int = 0
    _flushed_at: float = field(default_factory=time.monotonic)
    _file_name: str = ""

    def owns(self, index: int) -> bool:
        """Whether part `index` of the work is assigned to this pod."""
        return index % self.num_shards == self.shard

    def log(self, line: str) -> None:
        self.pipes.log.info(line)

    def metrics(self, step: int, **values: float) -> None:
        """Append metrics of a global step; the last entry of a step counts."""
        if self.is_silent:
            return
        self._entries.append(json.dumps({"step": step, "time": time.time(), **values}))
        if time.monotonic() - self._flushed_at > _METRICS_FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write all pending metrics to the folder; to be called before a checkpoint is written.

        An object store cannot append: the last file is written again, up to `_FILE_ENTRIES`.
        """
        self._flushed_at = time.monotonic()
        if len(self._entries) == self._num_flushed:
            return
        if not self._file_name:
            self._file_name = f"{METRICS_PREFIX}{time.time_ns():020d}-{self.shard:05d}.jsonl"
        content = "\n".join(self._entries).encode() + b"\n"
        shards.put(shards.join(self.folder, self._file_name), content)
        self._num_flushed = len(self._entries)
        if self._num_flushed >= _FILE_ENTRIES:
            self._entries, self._num_flushed, self._file_name = [], 0, ""


class FolderMessages(PipesBlobStoreMessageWriter):  # type: ignore[type-arg]
    """Writes Pipes messages to files in the lake, which a pod and its launcher can access."""

    def make_channel(self, params: Mapping[str, Any]) -> "_FolderChannel":
        return _FolderChannel(params["folder"], interval=_MESSAGES_SECONDS)


class _FolderChannel(PipesBlobStoreMessageWriterChannel):
    def __init__(self, folder: str, *, interval: float) -> None:
        super().__init__(interval=interval)
        self._folder, self._start = folder, f"{time.time_ns():020d}-{socket.gethostname()}"

    def upload_messages_chunk(self, payload: IO[str], index: int) -> None:
        name = f"{self._start}-{index:06d}.jsonl"
        shards.put(shards.join(self._folder, name), payload.read().encode())


def _message_writer(loader: PipesMappingParamsLoader) -> PipesMessageWriter[Any] | None:
    """A writer to the folder that the launcher names; None: the default of Pipes."""
    if loader.is_dagster_pipes_process() and "folder" in loader.load_messages_params():
        return FolderMessages()
    return None


def read_metrics(folder: str) -> list[dict[str, Any]]:
    """A job's metrics sorted by step; the last entry of each step counts."""
    by_step: dict[int, dict[str, Any]] = {}
    for name in shards.names(folder, METRICS_PREFIX):
        entries = read_metrics_file(shards.join(folder, name))
        by_step.update((entry["step"], entry) for entry in entries)
    return [by_step[step] for step in sorted(by_step)]


def read_metrics_file(url: str) -> list[dict[str, Any]]:
    """The entries of one file, in the order in which the job wrote them."""
    entries = []
    for line in shards.get(url).decode(errors="replace").splitlines():
        entry = _metrics_entry(line)
        if entry is None:
            # A missing point in a curve is better than training again.
            logging.getLogger(__name__).warning("%s holds a damaged line: left out", url)
        else:
            entries.append(entry)
    return entries


def _metrics_entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    is_whole = isinstance(entry, dict) and isinstance(entry.get("step"), int)
    is_whole = is_whole and all(isinstance(value, int | float) for value in entry.values())
    return entry if is_whole else None


def read_attempts(folder: str) -> list[dict[str, Any]]:
    """Metrics by step over all attempts of a job, from the last attempt's folder."""
    job = folder.rstrip("/").rsplit("/", 1)[0]
    by_step: dict[int, dict[str, Any]] = {}
    for attempt in attempt_folders(job):
        by_step.update((entry["step"], entry) for entry in read_metrics(attempt))
    return [by_step[step] for step in sorted(by_step)]


def attempt_folders(job: str) -> list[str]:
    """The folders of a job's attempts, in order."""
    return [shards.join(job, name) for name in shards.names(job, ATTEMPT_PREFIX)]


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent process of this local job ends, also by a kill.

    Child processes that call this function end with this process. Without SNOW_JOB_PARENT (in a
    pod, or started by hand) it does nothing.
    """
    if PARENT_VARIABLE not in os.environ:
        return
    parent = int(os.environ[PARENT_VARIABLE])
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before prctl was called
        sys.exit(PREEMPTED)


def main(request_type: type[Request], work: Callable[[Request, Progress], Report]) -> None:
    """Run `work` on the job folder of the command line, and exit with a worker's exit code."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m MODULE JOB_FOLDER, not {sys.argv[1:]}")
    folder = sys.argv[1]
    # Finished files are in the lake already; work that must save more sets its own handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(PREEMPTED))
    end_with_parent()
    # Only rank 0 of torchrun's processes reports; the pipes of other ranks are disabled.
    is_rank_zero = os.environ.get("RANK", "0") == "0"
    loader = PipesMappingParamsLoader(os.environ if is_rank_zero else {})
    with open_dagster_pipes(params_loader=loader, message_writer=_message_writer(loader)) as pipes:
        num_shards = int(os.environ.get("SNOW_SHARDS", "1"))
        shard = int(os.environ["JOB_COMPLETION_INDEX"]) if num_shards > 1 else 0
        progress = Progress(
            folder=folder,
            pipes=pipes,
            shard=shard,
            num_shards=num_shards,
            is_silent=not is_rank_zero,
        )
        refused = shards.join(folder, f"refused-{shard:05d}.txt")
        if shards.exists(refused):  # a cluster without failure policies restarts the pod
            sys.exit(BAD_INPUT)
        try:
            request = TypeAdapter(request_type).validate_json(
                shards.get(shards.join(folder, REQUEST))
            )
            with sample_gpu_usage() as gpu_usage:
                report = work(request, progress)
        except (ValueError, FileNotFoundError, ValidationError):
            # A bug or an invalid input: the same input fails again.
            traceback.print_exc()
            progress.flush()
            shards.put(refused, traceback.format_exc().encode())
            sys.exit(BAD_INPUT)
        if not is_rank_zero:
            return
        progress.flush()
        if gpu_usage.mean_percent is not None:
            usage = json.dumps({"gpu_percent": gpu_usage.mean_percent})
            shards.put(shards.join(folder, f"usage-{shard:05d}.json"), usage.encode())
        name = REPORT if num_shards == 1 else f"report-{shard:05d}.json"
        shards.put(shards.join(folder, name), TypeAdapter(type(report)).dump_json(report))
