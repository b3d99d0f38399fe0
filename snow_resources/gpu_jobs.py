"""The one way to run GPU work: a module, a request, a size; here as a local subprocess."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import IO, Any, Generic, TypeVar

import dagster as dg
import fsspec
from pydantic import TypeAdapter

Report = TypeVar("Report")

_MEANINGS = {
    42: "bad input: the same request fails again; read the error above and change its cause",
    75: "a passing fault: materialize again",
    143: "preempted after a checkpoint: materialize again, and it goes on from there",
    -9: "killed from outside, often for want of memory: materialize again, and it resumes",
}
_LOG_LINES = 40  # of a failed job, told with its exit code; `log.txt` in its folder has all
_GRACE_SECONDS = 120  # after SIGTERM: long enough to write a checkpoint


@dataclass(frozen=True, kw_only=True)
class JobSize:
    """What a job asks for. `environment` chooses interpreter or image: trainer or vllm."""

    gpus: int = 0
    cpus: int = 2
    memory_gib: int = 8
    environment: str = "trainer"


@dataclass(frozen=True, kw_only=True)
class FinishedJob(Generic[Report]):
    """A job's report, the folder with request, report, metrics and log, and what it took."""

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
        system.invalidate_cache()
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
        started = time.monotonic()
        with tempfile.TemporaryFile() as log:
            try:
                self._subprocess(context, module, system.unstrip_protocol(path), size, log)
            finally:
                log.seek(0)
                system.pipe_file(f"{path}/log.txt", log.read())
        return FinishedJob(
            report=_decode(report, system.cat_file(f"{path}/report.json")),
            folder=system.unstrip_protocol(path),
            seconds=time.monotonic() - started,
            attempt=attempt,
        )

    def _subprocess(
        self,
        context: dg.AssetExecutionContext,
        module: str,
        folder: str,
        size: JobSize,
        log: IO[bytes],
    ) -> None:
        interpreter = {"trainer": sys.executable, "vllm": self.vllm_python}[size.environment]
        if not os.path.exists(interpreter):  # noqa: PTH110  a plain look, no path to build
            raise dg.Failure(
                f"the {size.environment} environment is missing: no {interpreter}; `make` builds it"
            )
        with dg.open_pipes_session(
            context, dg.PipesTempFileContextInjector(), dg.PipesTempFileMessageReader()
        ) as session:
            process = subprocess.Popen(
                [interpreter, "-m", module, folder],
                env={
                    # Threads that wait for each other by spinning stall a shared machine: an
                    # update of SMOKE's model took 3.9 s instead of 0.5 s beside other work.
                    "OMP_WAIT_POLICY": "PASSIVE",
                    **os.environ,
                    **session.get_bootstrap_env_vars(),
                    "HF_HUB_OFFLINE": "1",
                    "TQDM_DISABLE": "1",  # the log is read, not watched
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                code = process.wait()
            finally:
                # Reached with a live process only when the run is cancelled.
                if process.poll() is None:
                    process.terminate()
                    try:
                        process.wait(_GRACE_SECONDS)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
        if code != 0:
            meaning = _MEANINGS.get(code, "an error of the job; its log tells which")
            log.seek(0)
            last_lines = log.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
            raise dg.Failure(
                "\n".join([f"{module} ended with exit code {code}: {meaning}", *last_lines]),
                metadata={"exit_code": code, "job": folder},
                allow_retries=code not in (42,),
            )


def _decode(report: type[Report], content: bytes) -> Report:
    return TypeAdapter(report).validate_json(content)
