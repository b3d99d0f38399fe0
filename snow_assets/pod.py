"""The one entry point of work that runs in a GPU job: request in, report out.

A job is a folder: `request.json` is there before it starts, `report.json` is written last, and
`metrics-*.jsonl` grow beside them. Of several pods that share a job each writes
`report-NNNNN.json`. `python -m snow_assets.quality.training JOB_FOLDER` runs one by hand. The
report is the truth; Dagster Pipes only carries progress and logs.
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

from snow_assets import shards
from snow_assets.gpu_use import sampled

REQUEST, REPORT = "request.json", "report.json"
BAD_INPUT, RETRYABLE, PREEMPTED = 42, 75, 143
"""Exit codes beside 0: do not retry; retry; stopped after a checkpoint."""

_PARENT_VARIABLE = "SNOW_JOB_PARENT"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_METRICS_FLUSH_SECONDS = 10.0
_MESSAGES_SECONDS = 5.0

Request = TypeVar("Request")
Report = TypeVar("Report")


@dataclass
class Progress:
    """What a job tells while it works: lines for people, metrics by step for the tracker."""

    folder: str
    pipes: PipesContext
    shard: int = 0  # of a job that several pods share: which of them this is
    num_shards: int = 1
    is_mute: bool = False  # another process of the same pod group speaks
    _pending: list[str] = field(default_factory=list)
    _flushed_at: float = field(default_factory=time.monotonic)
    _num_files: int = 0

    def takes(self, index: int) -> bool:
        """Whether part `index` of the work is this pod's."""
        return index % self.num_shards == self.shard

    def say(self, line: str) -> None:
        self.pipes.log.info(line)

    def metrics(self, step: int, **values: float) -> None:
        """Append metrics of a global step; a step that is told twice counts once."""
        if self.is_mute:
            return
        self._pending.append(json.dumps({"step": step, "time": time.time(), **values}))
        if time.monotonic() - self._flushed_at > _METRICS_FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Make all metrics so far readable; call it before a checkpoint is written."""
        if self._pending:
            # One put per file: an object store cannot append.
            name = f"metrics-{time.time_ns():020d}-{self.shard:05d}-{self._num_files:05d}.jsonl"
            shards.put(shards.join(self.folder, name), "\n".join(self._pending).encode() + b"\n")
            self._pending, self._num_files = [], self._num_files + 1
        self._flushed_at = time.monotonic()


class FolderMessages(PipesBlobStoreMessageWriter):  # type: ignore[type-arg]
    """Pipes messages as files of a folder in the lake, where a pod and its launcher both reach."""

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
    """Messages go to a folder where the launcher gave one, else the way that Pipes chooses."""
    if loader.is_dagster_pipes_process() and "folder" in loader.load_messages_params():
        return FolderMessages()
    return None


def read_metrics(folder: str) -> list[dict[str, Any]]:
    """A job's metrics by step, each step once (the last one told), in order."""
    by_step: dict[int, dict[str, Any]] = {}
    for name in shards.names(folder):
        if name.startswith("metrics-"):
            url = shards.join(folder, name)
            for line in shards.get(url).decode(errors="replace").splitlines():
                entry = _metrics_entry(line)
                if entry is None:
                    # Curves are for people: a point less is better than training again.
                    logging.getLogger(__name__).warning("%s holds a damaged line: left out", url)
                else:
                    by_step[entry["step"]] = entry
    return [by_step[step] for step in sorted(by_step)]


def _metrics_entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    is_whole = isinstance(entry, dict) and isinstance(entry.get("step"), int)
    is_whole = is_whole and all(isinstance(value, int | float) for value in entry.values())
    return entry if is_whole else None


def read_attempts(folder: str) -> list[dict[str, Any]]:
    """The metrics by step of a job over all its attempts, given the last attempt's folder."""
    job = folder.rstrip("/").rsplit("/", 1)[0]
    attempts = [name for name in shards.names(job) if name.startswith("attempt-")]
    by_step: dict[int, dict[str, Any]] = {}
    for name in attempts:
        by_step.update((entry["step"], entry) for entry in read_metrics(shards.join(job, name)))
    return [by_step[step] for step in sorted(by_step)]


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the process that started this local job ends, however.

    What this process starts in turn does the same when this one ends. Without SNOW_JOB_PARENT
    (a pod, a person at a prompt) nothing happens.
    """
    if _PARENT_VARIABLE not in os.environ:
        return
    parent = int(os.environ[_PARENT_VARIABLE])
    os.environ[_PARENT_VARIABLE] = str(os.getpid())
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was asked
        sys.exit(PREEMPTED)


def main(request_type: type[Request], work: Callable[[Request, Progress], Report]) -> None:
    """Run `work` on the job folder that the command line names, and exit by the contract."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m MODULE JOB_FOLDER, not {sys.argv[1:]}")
    folder = sys.argv[1]
    # What is finished is in the lake already; work with more to save sets a handler of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(PREEMPTED))
    end_with_parent()
    # Of the processes that torchrun starts only the first one speaks; the others' pipes are mute.
    is_first = os.environ.get("RANK", "0") == "0"
    loader = PipesMappingParamsLoader(os.environ if is_first else {})
    with open_dagster_pipes(params_loader=loader, message_writer=_message_writer(loader)) as pipes:
        num_shards = int(os.environ.get("SNOW_SHARDS", "1"))
        shard = int(os.environ["JOB_COMPLETION_INDEX"]) if num_shards > 1 else 0
        progress = Progress(
            folder=folder, pipes=pipes, shard=shard, num_shards=num_shards, is_mute=not is_first
        )
        refused = shards.join(folder, f"refused-{shard:05d}.txt")
        if shards.exists(refused):  # a cluster without failure policies starts it again
            sys.exit(BAD_INPUT)
        try:
            request = TypeAdapter(request_type).validate_json(
                shards.get(shards.join(folder, REQUEST))
            )
            with sampled() as use:
                report = work(request, progress)
        except (ValueError, FileNotFoundError, ValidationError):
            # Ours or the user's mistake: the same input fails again.
            traceback.print_exc()
            progress.flush()
            shards.put(refused, traceback.format_exc().encode())
            sys.exit(BAD_INPUT)
        if not is_first:
            return
        progress.flush()
        if use.mean_percent is not None:
            usage = json.dumps({"gpu_percent": use.mean_percent})
            shards.put(shards.join(folder, f"usage-{shard:05d}.json"), usage.encode())
        name = REPORT if num_shards == 1 else f"report-{shard:05d}.json"
        shards.put(shards.join(folder, name), TypeAdapter(type(report)).dump_json(report))
