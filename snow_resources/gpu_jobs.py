"""The one way to run GPU work: a module, a request, a size; where it runs is configuration.

A job is named by the digest of its module, code version and request. It is a folder in the
lake with a folder per attempt: `request.json` is there first, `report.json` is written last.
"""

import hashlib
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import dagster as dg
import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import TypeAdapter, ValidationError

Report = TypeVar("Report")

REQUEST, REPORT, ENDED, LOG = "request.json", "report.json", "ended.json", "log.txt"

BAD_INPUT, PASSING_FAULT, KILLED, PREEMPTED = 42, 75, 137, 143
"""Exit codes that a job's module (`snow_assets/pod.py`) and the kernel have a meaning for."""

_MEANINGS = {
    BAD_INPUT: "bad input: the same request fails again; read the error above and change its cause",
    PASSING_FAULT: "a passing fault: materialize again",
    KILLED: "killed from outside, often for want of memory: materialize again, and it resumes",
    PREEMPTED: "preempted after a checkpoint: materialize again, and it goes on from there",
}

VLLM = "vllm"
"""The environment whose one process spreads a model over all its GPUs."""

SANDBOX = "sandbox"
"""The environment that reaches neither network nor lake."""

LOG_LINES = 40
"""Of a failed job, told with its exit code; `log.txt` in its folder has all."""


def meaning(code: int) -> str:
    return _MEANINGS.get(code, "an error of the job; its log tells which")


@dataclass(frozen=True, kw_only=True)
class JobSize:
    """What a job asks for. `environment` chooses interpreter or image: trainer, vllm or sandbox
    (which reaches neither network nor lake: its request and report are all that crosses).

    `parts`: into how many pieces several pods could share the work; 1: it is one piece.
    """

    gpus: int = 0
    cpus: int = 2
    memory_gib: int = 8
    environment: str = "trainer"
    parts: int = 1
    nodes: int = 1
    processes: int = 1  # on each node, that work on the same model

    def __post_init__(self) -> None:
        """Refuse GPUs that nothing would use: a process of the trainer computes on one."""
        if self.environment != VLLM and self.gpus > self.processes:
            raise ValueError(
                f"{self.gpus} GPUs for {self.processes} process(es) of the {self.environment} "
                "environment: a process uses one GPU; ask for as many processes, or fewer GPUs"
            )


@dataclass(frozen=True, kw_only=True)
class FinishedJob(Generic[Report]):
    """A job's reports, the folder with request, reports, metrics and log, and what it took."""

    reports: tuple[Report, ...]  # one of each pod that shared the work
    folder: str
    seconds: float  # of this call; 0 when an earlier run's report was there
    attempt: int

    @property
    def report(self) -> Report:
        """The only report; ValueError where pods shared the work."""
        (one,) = self.reports
        return one


@dataclass(frozen=True, kw_only=True)
class Job:
    """A piece of work, and its folder in the lake that holds a folder per attempt."""

    module: str
    request: bytes
    asset: str
    partition: str
    digest: str
    url: str

    @property
    def step(self) -> str:
        """The module's last name: what people call this job."""
        return self.module.rsplit(".", 1)[-1]

    @cached_property
    def _place(self) -> tuple[Any, str]:
        options = {} if "://" not in self.url else {"use_listings_cache": False}
        system, root = fsspec.core.url_to_fs(self.url, **options)
        return system, str(root)

    def attempts(self) -> list[int]:
        """The numbers of the attempts so far, in order."""
        system, root = self._place
        found = system.ls(root, detail=False) if system.isdir(root) else []
        return sorted(int(path.rstrip("/").rsplit("-", 1)[1]) for path in found)

    def folder(self, attempt: int) -> str:
        """The attempt's folder as a URL, the same for every process."""
        return str(self._place[0].unstrip_protocol(self._path(attempt)))

    def has(self, attempt: int, name: str) -> bool:
        return bool(self._place[0].exists(self._path(attempt, name)))

    def get(self, attempt: int, name: str) -> bytes:
        return bytes(self._place[0].cat_file(self._path(attempt, name)))

    def names(self, attempt: int, folder: str) -> list[str]:
        """The sorted names of the finished files in a folder of the attempt."""
        system, path = self._place[0], self._path(attempt, folder)
        found = system.ls(path, detail=False) if system.isdir(path) else []
        names = (one.rstrip("/").rsplit("/", 1)[1] for one in found)
        return sorted(name for name in names if not name.startswith("."))

    def put(self, attempt: int, name: str, content: bytes) -> None:
        """A whole file or none."""
        system, path = self._place[0], self._path(attempt, name)
        if isinstance(system, LocalFileSystem):
            system.makedirs(self._path(attempt), exist_ok=True)
            part = f"{path}.{uuid.uuid4().hex}.part"  # two runs may write at once
            system.pipe_file(part, content)
            Path(part).replace(path)
        else:
            system.pipe_file(path, content)

    def set_aside(self, attempt: int, name: str) -> None:
        """Keep a damaged file under another name, so that nobody takes it for a whole one."""
        self._place[0].mv(self._path(attempt, name), self._path(attempt, f"{name}.damaged"))

    def _path(self, attempt: int, name: str = "") -> str:
        folder = f"{self._place[1]}/attempt-{attempt:03d}"
        return f"{folder}/{name}" if name else folder


def command(job: Job, attempt: int, size: JobSize, python: str) -> list[str]:
    """What runs a job, on each of its nodes."""
    folder = job.folder(attempt)
    if size.nodes * size.processes == 1:
        return [python, "-m", job.module, folder]
    numbers = [str(size.nodes), str(size.processes)]
    return [python, "-m", "snow_assets.torchrun", *numbers, job.module, folder]


class GpuJobs(dg.ConfigurableResource, ABC):  # type: ignore[type-arg]
    """Runs jobs. A finished one is never run again: its report is read."""

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
    ) -> FinishedJob[Report]:
        """Run `python -m module` on a dataclass `request`; return what it reported.

        Raises dg.Failure with the true reason when the job fails.
        """
        content = TypeAdapter(type(request)).dump_json(request, indent=1)
        named = "\0".join([module, code_version, *self.identity(size), ""])
        digest = hashlib.sha256(named.encode() + content).hexdigest()[:32]
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
        attempt, reports = _finished(context, job, report)
        seconds = 0.0
        if reports is None or attempt is None:
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
        """What else names a job, beside its module, code version and request."""

    def sandbox_level(self) -> str | None:
        """How a sandbox is isolated that runs elsewhere; None: it runs here, look for yourself."""
        return None

    @abstractmethod
    def work(self, context: dg.AssetExecutionContext, job: Job, size: JobSize) -> int:
        """Do the work; return the attempt whose report is there now. Raises dg.Failure."""


def _finished(
    context: dg.AssetExecutionContext, job: Job, report: type[Report]
) -> tuple[int | None, tuple[Report, ...] | None]:
    """The attempt that has a report, and what it reports; a damaged report counts as none."""
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
            job.set_aside(attempt, REPORT)
    return None, None


def _reports(report: type[Report], content: bytes) -> tuple[Report, ...]:
    """One report, or the list of them that the launcher of a shared job collected."""
    if content.lstrip().startswith(b"["):
        return TypeAdapter(tuple[report, ...]).validate_json(content)  # type: ignore[valid-type]
    return (TypeAdapter(report).validate_json(content),)
