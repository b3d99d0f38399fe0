"""Interface to run GPU work: a module, a request and a size; configuration chooses the backend.

A job is identified by the digest of its module, code version and request. It is a folder in the
lake with a folder per attempt: `request.json` is written first, `report.json` last.
"""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from snow_assets.storage import object_store

Report = TypeVar("Report")

_ATTEMPT_PREFIX = "attempt-"
REQUEST, REPORT, ENDED, LOG = "request.json", "report.json", "ended.json", "log.txt"

BAD_INPUT, RETRYABLE, KILLED, PREEMPTED = 42, 75, 137, 143
"""Exit codes of a worker (`snow_assets/runtime/worker.py`) and of the kernel's signals."""

_EXIT_CODE_MEANINGS = {
    BAD_INPUT: "bad input: the same request fails again; read the error above and change its cause",
    RETRYABLE: "a transient error: materialize again",
    KILLED: "killed from outside, often for want of memory: materialize again, and it resumes",
    PREEMPTED: "preempted after a checkpoint: materialize again, and it goes on from there",
}

VLLM = "vllm"
"""The environment in which a single process shards a model over all its GPUs."""

ENGINE = "engine"
"""The environment with Ray, whose nodes share one stage of curation."""

SANDBOX = "sandbox"
"""The environment without access to network and lake."""

LOG_LINES = 40
"""Last lines of a failed job's log that its error message holds; `log.txt` has all."""


def exit_code_meaning(code: int) -> str:
    """What an exit code means and what to do, for error messages."""
    return _EXIT_CODE_MEANINGS.get(code, "an error of the job; read its log")


@dataclass(frozen=True, kw_only=True)
class JobSize:
    """Resources of a job. `environment` selects the interpreter or image: trainer, vllm, engine or
    sandbox (without network and lake: it exchanges its request and report only).

    `parts`: maximum number of pods that can share the work; 1: the work is not sharded.
    """

    gpus: int = 0
    cpus: int = 2
    memory_gib: int = 8
    environment: str = "trainer"
    parts: int = 1
    nodes: int = 1  # of one distributed training job, or of one Ray cluster
    processes: int = 1  # per node, of one distributed training job

    def __post_init__(self) -> None:
        """Raise ValueError for unused GPUs: a process of the trainer uses one GPU."""
        if self.environment != VLLM and self.gpus > self.processes:
            raise ValueError(
                f"{self.gpus} GPUs for {self.processes} process(es) of the {self.environment} "
                "environment: a process uses one GPU; request as many processes, or fewer GPUs"
            )


@dataclass(frozen=True, kw_only=True)
class FinishedJob(Generic[Report]):
    """A job's reports, its folder (request, reports, metrics, log) and its duration."""

    reports: tuple[Report, ...]  # one per pod that shared the work
    folder: str
    seconds: float  # of this call; 0 if an earlier run's report was reused
    attempt: int

    @property
    def report(self) -> Report:
        """The only report; ValueError where several pods shared the work."""
        (report,) = self.reports
        return report


@dataclass(frozen=True, kw_only=True)
class Job:
    """A module's request, and its folder in the lake that holds a folder per attempt."""

    module: str
    request: bytes
    asset: str
    partition: str
    digest: str
    url: str

    @property
    def step(self) -> str:
        """The last component of the module's name, as shown to users."""
        return self.module.rsplit(".", 1)[-1]

    @cached_property
    def root(self) -> str:
        """The folder that holds the attempts as an absolute URL."""
        system, path = object_store.file_system(self.url)
        return str(system.unstrip_protocol(path))

    def attempts(self) -> list[int]:
        """The numbers of the attempts so far, in order."""
        names = object_store.names(self.root, _ATTEMPT_PREFIX)
        return sorted(int(name.removeprefix(_ATTEMPT_PREFIX)) for name in names)

    def folder(self, attempt: int) -> str:
        """The attempt's folder as an absolute URL."""
        return object_store.join(self.root, f"{_ATTEMPT_PREFIX}{attempt:03d}")

    def has(self, attempt: int, name: str) -> bool:
        return object_store.exists(self._file(attempt, name))

    def get(self, attempt: int, name: str) -> bytes:
        return object_store.get(self._file(attempt, name))

    def names(self, attempt: int, folder: str) -> list[str]:
        """The sorted names of the complete files in a folder of the attempt."""
        return object_store.names(self._file(attempt, folder))

    def put(self, attempt: int, name: str, content: bytes) -> None:
        """Write a file atomically."""
        object_store.put(self._file(attempt, name), content)

    def quarantine(self, attempt: int, name: str) -> None:
        """Rename a damaged file to NAME.damaged, so that it is not read again."""
        system, path = object_store.file_system(self._file(attempt, name))
        system.mv(path, f"{path}.damaged")

    def _file(self, attempt: int, name: str) -> str:
        return object_store.join(self.folder(attempt), name)


def command(job: Job, attempt: int, size: JobSize, python: str) -> list[str]:
    """The command line that runs a job on each of its nodes."""
    folder = job.folder(attempt)
    if size.environment == ENGINE:
        size_of_node = [str(size.cpus), str(size.memory_gib)]
        return [python, "-m", "snow_assets.runtime.ray_nodes", *size_of_node, job.module, folder]
    if size.nodes * size.processes == 1:
        return [python, "-m", job.module, folder]
    world = [str(size.nodes), str(size.processes)]
    return [python, "-m", "snow_assets.runtime.torchrun", *world, job.module, folder]


Watch = Callable[[str], AbstractContextManager[None]]
"""Watches a job by the URL of the folder that holds its attempts."""


def _watch_nothing(_: str) -> AbstractContextManager[None]:
    return nullcontext()


class GpuJobs(dg.ConfigurableResource, ABC):  # type: ignore[type-arg]
    """Runs jobs. A finished job is not run again: its report is reused."""

    url: str  # of the folder that holds all jobs

    def run(
        self,
        context: dg.AssetExecutionContext,
        module: str,
        request: Any,
        *,
        report: type[Report],
        code_version: str,
        size: JobSize,
        unaddressed_fields: Collection[str] = (),
        watch: Watch = _watch_nothing,
    ) -> FinishedJob[Report]:
        """Run `python -m module` on a dataclass `request`; return its reports.

        Two requests that differ in `unaddressed_fields` alone are attempts of one job. `watch` is
        entered with the folder of the job's attempts while this process waits for the job. Raises
        dg.Failure with the root cause if the job fails.
        """
        adapter = TypeAdapter(type(request))
        content = adapter.dump_json(request, indent=1)
        addressed = adapter.dump_json(request, indent=1, exclude=set(unaddressed_fields))
        identity = "\0".join([module, code_version, *self.identity(size), ""])
        digest = hashlib.sha256(identity.encode() + addressed).hexdigest()[:32]
        asset = context.asset_key.path[-1]
        partition = context.partition_key if context.has_partition_key else "all"
        job = Job(
            module=module,
            request=content,
            asset=asset,
            partition=partition,
            digest=digest,
            url=f"{self.url}/{asset}/{partition}/{digest}",
        )
        started = time.monotonic()
        attempt, reports = _finished_attempt(context, job, report)
        seconds = 0.0
        if reports is None or attempt is None:
            with watch(job.root):
                attempt = self.work(context, job, size)
            seconds = time.monotonic() - started
            reports = _reports(report, job.get(attempt, REPORT))
        else:
            context.log.info(f"{module}: {job.folder(attempt)} is finished; its report is reused")
        return FinishedJob(
            reports=reports,
            folder=job.folder(attempt),
            seconds=seconds,
            attempt=attempt,
        )

    @abstractmethod
    def identity(self, size: JobSize) -> list[str]:
        """What the job's digest covers besides its module, code version and request."""

    def sandbox_level(self) -> str | None:
        """The isolation level of a sandbox in a pod; None: it runs on this machine."""
        return None

    @abstractmethod
    def work(self, context: dg.AssetExecutionContext, job: Job, size: JobSize) -> int:
        """Execute the job; return the attempt that holds the report. Raises dg.Failure."""


def _finished_attempt(
    context: dg.AssetExecutionContext, job: Job, report: type[Report]
) -> tuple[int | None, tuple[Report, ...] | None]:
    """The finished attempt and its reports; a damaged report counts as none."""
    for attempt in job.attempts():
        if not job.has(attempt, REPORT):
            continue
        try:
            return attempt, _reports(report, job.get(attempt, REPORT))
        except ValidationError as error:
            context.log.warning(
                f"{job.folder(attempt)}/{REPORT} is damaged ({error.errors()[0]['msg']}) and set "
                "aside: the job runs again, and goes on from what it has written"
            )
            job.quarantine(attempt, REPORT)
    return None, None


def _reports(report: type[Report], content: bytes) -> tuple[Report, ...]:
    """Parse a report, or the list of them that the launcher of a sharded job collected."""
    if content.lstrip().startswith(b"["):
        return TypeAdapter(tuple[report, ...]).validate_json(content)  # type: ignore[valid-type]
    return (TypeAdapter(report).validate_json(content),)
