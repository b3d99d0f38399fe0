"""The one way to run GPU work: a module, a request, a size; here as a local subprocess."""

import hashlib
import os
import sys
import time
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import dagster as dg
import fsspec
from pydantic import TypeAdapter

Report = TypeVar("Report")


@dataclass(frozen=True, kw_only=True)
class JobSize:
    """What a job asks for. `environment` chooses interpreter or image: trainer or vllm."""

    gpus: int = 0
    cpus: int = 2
    memory_gib: int = 8
    environment: str = "trainer"


@dataclass(frozen=True, kw_only=True)
class FinishedJob(Generic[Report]):
    """A job's report, the folder with its request, report and metrics, and what it took."""

    report: Report
    folder: str
    seconds: float  # of this call; 0 when an earlier run's report was there
    attempt: int


class GpuJobs(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Runs jobs as subprocesses of this machine.

    A job is named by the digest of its module, code version and request. A finished one is never
    run again: its report is read. An unfinished one runs again in the next attempt's folder, and
    resumes by what it finds at its own output.
    """

    url: str  # of the folder that holds all jobs
    vllm_python: str  # the interpreter of vLLM's own environment

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

        Raises dg.Failure with the exit code's meaning when the job fails.
        """
        content = TypeAdapter(type(request)).dump_json(request, indent=1)
        digest = hashlib.sha256(f"{module}\0{code_version}\0".encode() + content).hexdigest()[:32]
        asset = context.asset_key.path[-1]
        partition = context.partition_key if context.has_partition_key else "all"
        system, root = fsspec.core.url_to_fs(f"{self.url}/{asset}/{partition}/{digest}")
        attempts = sorted(system.ls(root, detail=False)) if system.isdir(root) else []
        for attempt, path in enumerate(attempts, start=1):
            if system.exists(f"{path}/report.json"):
                context.log.info(f"{module}: {path} is finished; its report is reused")
                return FinishedJob(
                    report=_decode(report, system.cat_file(f"{path}/report.json")),
                    folder=system.unstrip_protocol(path),
                    seconds=0.0,
                    attempt=attempt,
                )
        attempt = len(attempts) + 1
        path = f"{root}/attempt-{attempt:03d}"
        system.makedirs(path, exist_ok=True)
        system.pipe_file(f"{path}/request.json", content)
        folder = system.unstrip_protocol(path)
        seconds = self._subprocess(context, module, folder, size)
        return FinishedJob(
            report=_decode(report, system.cat_file(f"{path}/report.json")),
            folder=folder,
            seconds=seconds,
            attempt=attempt,
        )

    def _subprocess(
        self, context: dg.AssetExecutionContext, module: str, folder: str, size: JobSize
    ) -> float:
        interpreters = {"trainer": sys.executable, "vllm": self.vllm_python}
        started = time.monotonic()
        dg.PipesSubprocessClient().run(
            command=[interpreters[size.environment], "-m", module, folder],
            context=context,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        return time.monotonic() - started


def _decode(report: type[Report], content: bytes) -> Report:
    return TypeAdapter(report).validate_json(content)
