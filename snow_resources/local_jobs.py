"""GPU jobs as subprocesses of this machine."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import dagster as dg

from snow_resources.fork_client import ForkedProcess, can_fork, fork_server
from snow_resources.gpu_jobs import (
    BAD_INPUT,
    LOG,
    LOG_LINES,
    REPORT,
    REQUEST,
    VLLM,
    GpuJobs,
    Job,
    JobSize,
    command,
    exit_code_meaning,
)
from snow_resources.local_job_lease import GRACE_SECONDS, Lease, hold_lease


class LocalJobs(GpuJobs):
    """Runs jobs as subprocesses.

    An unfinished job runs again in the next attempt's folder and resumes from its own output. At
    most one process works on a job (`local_job_lease.py`): the job's process stops when the run
    that started it is killed, and the next run waits for it.
    """

    vllm_python: str  # the interpreter of vLLM's own environment

    def identity(self, size: JobSize) -> list[str]:  # noqa: ARG002
        return []

    def work(self, context: dg.AssetExecutionContext, job: Job, size: JobSize) -> int:
        if size.nodes > 1:
            raise dg.Failure(
                f"{job.module} requests {size.nodes} nodes, and local jobs run on a single machine"
            )
        with hold_lease(job.url, run=context.run.run_id, log=context.log.info) as lease:
            attempts = job.attempts()
            finished = next((number for number in attempts if job.has(number, REPORT)), None)
            if finished is not None:
                return finished  # by the run that held the lease before
            attempt = max(attempts, default=0) + 1
            job.put(attempt, REQUEST, job.request)
            with tempfile.TemporaryFile() as log:
                try:
                    self._run_subprocess(context, job, attempt, size, log, lease)
                finally:
                    log.seek(0)
                    job.put(attempt, LOG, log.read())
            return attempt

    def _run_subprocess(
        self,
        context: dg.AssetExecutionContext,
        job: Job,
        attempt: int,
        size: JobSize,
        log: IO[bytes],
        lease: Lease,
    ) -> None:
        interpreter = self.vllm_python if size.environment == VLLM else sys.executable
        if not os.path.exists(interpreter):  # noqa: PTH110  a plain look, no path to build
            raise dg.Failure(
                f"the {size.environment} environment is missing: no {interpreter}; `make` builds it"
            )
        with dg.open_pipes_session(
            context,
            dg.PipesFileContextInjector(str(lease.temporary_dir / "pipes-context")),
            dg.PipesFileMessageReader(str(lease.temporary_dir / "pipes-messages")),
        ) as session:
            process: subprocess.Popen[bytes] | ForkedProcess
            job_environment = {**session.get_bootstrap_env_vars(), **lease.environment()}
            if _is_forked(size):
                process = fork_server(interpreter, _environment()).start(
                    job.module,
                    [job.folder(attempt)],
                    environment=job_environment,
                    log=log,
                    lease=lease,
                )
            else:
                process = subprocess.Popen(
                    command(job, attempt, size, interpreter),
                    env={**_environment(), **job_environment},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(lease.descriptor,),
                )
            try:
                returncode = process.wait()
                code = (
                    128 - returncode if returncode < 0 else returncode
                )  # a signal's exit code as in a shell and a pod
            finally:
                # Reached with a live process only when the run is cancelled.
                if process.poll() is None:
                    process.terminate()
                    try:
                        process.wait(GRACE_SECONDS)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
        if code != 0:
            log.seek(0)
            last_lines = log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
            message = f"{job.module} ended with exit code {code}: {exit_code_meaning(code)}"
            raise dg.Failure(
                "\n".join([message, *last_lines]),
                metadata={"exit_code": code, "job": job.folder(attempt)},
                allow_retries=code != BAD_INPUT,
            )


def _is_forked(size: JobSize) -> bool:
    """Whether a job is one process with slow imports; torchrun and CUDA cannot be forked."""
    is_single = size.nodes * size.processes == 1 and size.gpus == 0
    return is_single and size.environment in ("trainer", VLLM) and can_fork()


def _environment() -> dict[str, str]:
    """The environment of all jobs."""
    return {
        # Threads that wait for each other by spinning stall a shared machine: an update of SMOKE's
        # model took 3.9 s instead of 0.5 s beside other work.
        "OMP_WAIT_POLICY": "PASSIVE",
        # Freed memory is kept for the next tensor: returning it to the system and faulting it in
        # again is a tenth of an update of SMOKE's model.
        "MALLOC_MMAP_THRESHOLD_": "33554432",  # glibc takes no more
        "MALLOC_TRIM_THRESHOLD_": "4294967296",
        # Its default is below TMPDIR, and the cache must outlive the job.
        "TORCHINDUCTOR_CACHE_DIR": str(_compile_cache_dir()),
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",  # the log is read, not watched
    }


def _compile_cache_dir() -> Path:
    return Path(tempfile.gettempdir()) / f"torchinductor-{os.getuid()}"
