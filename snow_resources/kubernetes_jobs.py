"""GPU jobs as Kubernetes Jobs: created or adopted, waited for by their conditions, explained.

A Job is named by asset, partition, digest of the work and attempt. The work's first unfinished
attempt is the one that every run waits for, whoever started it; a failed one is followed by the
next. Only a cancel that drops the last claim deletes a Job (`job_claims.py`).
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from pydantic import Field

from snow_resources.enclosed_jobs import enclosed, report_in, request_config_map
from snow_resources.gpu_jobs import (
    BAD_INPUT,
    ENDED,
    LOG,
    LOG_LINES,
    REPORT,
    REQUEST,
    SANDBOX,
    GpuJobs,
    Job,
    JobSize,
)
from snow_resources.janitor import delete_unclaimed
from snow_resources.job_claims import claimed, drop_claim
from snow_resources.job_manifest import DIGEST, SHARDS, job_name, read_yaml, render
from snow_resources.job_messages import FolderMessageReader
from snow_resources.job_state import JobState, job_state
from snow_resources.kubernetes_api import KubernetesApi, events_of, until

Json = dict[str, Any]

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0
_FAILURE_POLICY_VERSION = (1, 31)  # podFailurePolicy is stable
_KEPT_LOG_LINES = 2_000
_PODS_GONE_SECONDS = 600.0  # their grace and more; those of a lost node are not waited for


class KubernetesJobs(GpuJobs):
    """Runs jobs in one namespace of the cluster that this process's kubeconfig or pod is in."""

    namespace: str
    images: dict[str, str]  # by environment: trainer, vllm
    pythons: dict[str, str] = Field(default_factory=dict)  # in each image, if not `python`
    patches: list[str] = Field(default_factory=list)  # files, each a strategic-merge patch on Jobs
    sandbox_namespace: str = ""  # where no pod reaches anything; empty: the same namespace
    sandbox_patches: list[str] = Field(default_factory=list)  # on the sandbox's Jobs only
    sandbox_canary: str = ""  # host:port that is up, and that a sandbox must not reach
    shards: dict[str, int] = Field(default_factory=dict)  # a module's last name -> pods in all
    parallelism: dict[str, int] = Field(default_factory=dict)  # and how many of them at once
    queue: str = ""  # Kueue's, if it admits the Jobs
    queue_seconds: int = 86_400  # may it stay suspended, unschedulable or without quota
    start_seconds: int = 1_800  # may it take from a node until it runs
    run_seconds: int = 604_800  # may it run; the cluster ends it
    unclaimed_grace_seconds: int = 3_600  # may a Job go on that no run waits for
    max_attempts: int = 3  # of one run, after faults that pass
    gpu_hour_price: float = 0.0  # in your currency; 0: no cost is shown
    cpu_hour_price: float = 0.0
    kubeconfig: str = ""  # a file; empty: this pod's account, or what KUBECONFIG names
    patience_seconds: float = 1_800.0  # with an API server that does not answer

    def clean_up(self, instance: dg.DagsterInstance) -> list[str]:
        """Delete live Jobs whose runs ended longer ago than the grace; returns their names."""

        def end_of_run(run_id: str) -> float | None:
            record = instance.get_run_record_by_id(run_id)
            return record.end_time if record is not None else None

        return [
            name
            for namespace in sorted({self.namespace, self.sandbox_namespace or self.namespace})
            for name in delete_unclaimed(
                self._api(namespace),
                end_of_run=end_of_run,
                grace_seconds=self.unclaimed_grace_seconds,
            )
        ]

    def _api(self, namespace: str) -> KubernetesApi:
        return KubernetesApi(
            namespace, patience_seconds=self.patience_seconds, kubeconfig=self.kubeconfig
        )

    def sandbox_level(self) -> str:
        return "pod"

    def identity(self, size: JobSize) -> list[str]:
        return [self._image(size)]

    def _image(self, size: JobSize) -> str:
        """The sandbox runs in the trainer's image: it needs Python and libseccomp."""
        name = "trainer" if size.environment == SANDBOX else size.environment
        if name not in self.images:
            raise dg.Failure(f"no image for {name} jobs: name one under `images` of SNOW_JOBS")
        return self.images[name]

    def work(self, context: dg.AssetExecutionContext, job: Job, size: JobSize) -> int:
        is_enclosed = size.environment == SANDBOX
        api = self._api((is_enclosed and self.sandbox_namespace) or self.namespace)
        for number in range(1, self.max_attempts + 1):
            attempt, state = self._attempt(context, api, job, size)
            if state.phase == "complete":
                self._show(context, job, attempt, size, state)
                return attempt
            if not state.is_passing or number == self.max_attempts:
                break
            context.log.warning(f"{job_name(job, attempt)}: {state.why}; the next attempt starts")
        raise self._failure(job, attempt, state)

    def _attempt(
        self, context: dg.AssetExecutionContext, api: KubernetesApi, job: Job, size: JobSize
    ) -> tuple[int, JobState]:
        """See one attempt to its end, ours or another run's that is under way."""
        while True:
            attempt = _next_attempt(job)
            job.put(attempt, REQUEST, job.request)
            with _telephone(context, job, attempt, size) as environment:
                manifest = self._manifest(context, api, job, attempt, size, environment)
                name = manifest["metadata"]["name"]
                try:
                    state = self._awaited(context, api, job, manifest)
                except (DagsterExecutionInterruptedError, KeyboardInterrupt):
                    context.log.info(f"{name}: cancelled; its claim is dropped")
                    if self._drop(context, api, name):
                        _end(job, attempt, JobState(phase="failed", why="cancelled"))
                    raise
            if state is None:  # it had ended before, or another run has just cancelled it
                _end(job, attempt, JobState(phase="failed", why="an earlier run's; it was over"))
                continue
            return attempt, self._ended(context, api, job, attempt, state)

    def _manifest(
        self,
        context: dg.AssetExecutionContext,
        api: KubernetesApi,
        job: Job,
        attempt: int,
        size: JobSize,
        environment: dict[str, str],
    ) -> Json:
        is_enclosed = size.environment == SANDBOX
        python = self.pythons.get("trainer" if is_enclosed else size.environment, "python")
        patches = self.sandbox_patches if is_enclosed else self.patches
        made = render(
            job,
            attempt,
            size,
            run_id=context.run.run_id,
            image=self._image(size),
            python=python,
            environment=environment,
            run_seconds=self.run_seconds,
            num_shards=min(self.shards.get(job.step, 1), size.parts),
            parallelism=self.parallelism.get(job.step, 1),
            has_failure_policy=api.version() >= _FAILURE_POLICY_VERSION,
            queue=self.queue,
            patches=[read_yaml(Path(path)) for path in patches],
        )
        if not is_enclosed:
            return made
        if not self.sandbox_canary:
            raise dg.Failure(
                "sandbox_canary is not set: name a host:port that is up, so that a sandbox can "
                "prove that it does not reach it"
            )
        return enclosed(made, job, python=python, canary=self.sandbox_canary)

    def _awaited(
        self, context: dg.AssetExecutionContext, api: KubernetesApi, work: Job, manifest: Json
    ) -> JobState | None:
        """How the Job ended that this run made or found; None: it was over when it was found."""
        name = manifest["metadata"]["name"]
        found = claimed(api, manifest, run_id=context.run.run_id)
        if found is None:
            return None
        if job_state(found, _pods(api, name)).phase == "failed":
            return None
        if "snow/network" in manifest["spec"]["template"]["metadata"]["labels"]:
            api.create("configmaps", request_config_map(work, found))
        context.log.info(f"Job {name} in namespace {self.namespace}")
        began = entered = time.monotonic()
        told: tuple[str, str] = ("", "")
        while True:
            job = api.get("jobs", name)
            if job is None:
                return JobState(
                    phase="failed", why="the Job was deleted from outside", is_passing=True
                )
            state = self._explained(api, job, job_state(job, _pods(api, name)))
            if state.phase in ("complete", "failed"):
                return state
            now = time.monotonic()
            if state.phase != told[0]:
                entered = now
            if (state.phase, state.why) != told:
                told = (state.phase, state.why)
                context.log.info(f"{name}: {state.phase}: {state.why}")
            limit = {"queued": self.queue_seconds, "starting": self.start_seconds}.get(state.phase)
            if limit is not None and now - entered > limit:
                why = f"{state.phase} for more than its limit of {limit} s: {state.why}"
                return JobState(phase="failed", why=why, queue_seconds=state.queue_seconds)
            pause = (now - began) / 10
            time.sleep(min(max(pause, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS))

    def _explained(self, api: KubernetesApi, job: Json, state: JobState) -> JobState:
        """A Job without a pod says nothing of why; its events do (quota, missing account)."""
        if (state.phase, state.why) != ("queued", "no pod yet"):
            return state
        warnings = [
            event
            for event in events_of(api, job["metadata"]["uid"])
            if event.get("type") == "Warning"
        ]
        why = f"no pod yet: {warnings[-1].get('message')}" if warnings else state.why
        return JobState(phase="queued", why=why)

    def _ended(
        self,
        context: dg.AssetExecutionContext,
        api: KubernetesApi,
        job: Job,
        attempt: int,
        state: JobState,
    ) -> JobState:
        """Keep what the cluster forgets; a Job that is complete without a report has failed."""
        name = job_name(job, attempt)
        found = api.get("jobs", name)
        pods = _pods(api, name)
        _keep_evidence(api, job, attempt, found, pods)
        if state.phase == "complete":
            _fetch_report(api, job, attempt, pods)
        if state.phase == "complete" and not _collected(job, attempt, found):
            state = JobState(phase="failed", why="complete, but without a report")
        if found is not None and state.phase == "failed" and not found["status"].get("conditions"):
            self._drop(context, api, name)  # past a limit of ours: other runs may be more patient
        if state.phase == "failed":  # two attempts must never write at once
            until(lambda: not _live_pods(api, job), seconds=_PODS_GONE_SECONDS)
        _end(job, attempt, state)
        return state

    def _drop(self, context: dg.AssetExecutionContext, api: KubernetesApi, name: str) -> bool:
        def is_finished(run_id: str) -> bool:
            run = context.instance.get_run_by_id(run_id)
            return run is not None and run.is_finished

        return drop_claim(api, name, run_id=context.run.run_id, is_finished=is_finished)

    def _show(
        self,
        context: dg.AssetExecutionContext,
        job: Job,
        attempt: int,
        size: JobSize,
        state: JobState,
    ) -> None:
        hours = state.run_seconds / 3600
        cost = hours * (size.gpus * self.gpu_hour_price + size.cpus * self.cpu_hour_price)
        use = _gpu_percent(job, attempt)
        context.add_asset_metadata(
            {
                f"{job.step}_job": job_name(job, attempt),
                f"{job.step}_size": f"{size.gpus} GPUs, {size.cpus} CPUs, {size.memory_gib} GiB",
                f"{job.step}_attempts": attempt,
                f"{job.step}_queue_seconds": state.queue_seconds or 0.0,
                f"{job.step}_run_seconds": state.run_seconds,
                **({f"{job.step}_cost": cost} if cost else {}),
                **({} if use is None else {f"{job.step}_gpu_percent": use}),
            }
        )

    def _failure(self, job: Job, attempt: int, state: JobState) -> dg.Failure:
        log = job.get(attempt, LOG).decode(errors="replace").splitlines()[-LOG_LINES:]
        return dg.Failure(
            "\n".join([f"{job.module}: {job_name(job, attempt)}: {state.why}", *log]),
            metadata={
                "job": job_name(job, attempt),
                "folder": dg.MetadataValue.path(job.folder(attempt)),
                "exit_code": -1 if state.exit_code is None else state.exit_code,
            },
            allow_retries=state.exit_code != BAD_INPUT,
        )


def kubernetes_jobs(settings: Path, *, url: str) -> KubernetesJobs:
    """Jobs as a site's file describes them (`k8s/example/jobs.yaml`); its patches lie beside it."""
    known = read_yaml(settings)
    patches = [str(settings.parent / patch) for patch in known.pop("patches", [])]
    sandbox_patches = [str(settings.parent / patch) for patch in known.pop("sandbox_patches", [])]
    return KubernetesJobs(url=url, patches=patches, sandbox_patches=sandbox_patches, **known)


def _next_attempt(job: Job) -> int:
    """The first attempt that has not ended."""
    last = max(job.attempts(), default=0)
    return last if last and not job.has(last, ENDED) else last + 1


def _end(job: Job, attempt: int, state: JobState) -> None:
    job.put(attempt, ENDED, json.dumps(asdict(state), indent=1).encode())


def _pods(api: KubernetesApi, name: str) -> list[Json]:
    return api.list("pods", labelSelector=f"job-name={name}")


@contextmanager
def _telephone(
    context: dg.AssetExecutionContext, job: Job, attempt: int, size: JobSize
) -> Iterator[dict[str, str]]:
    """The environment that lets a pod speak to this run; a sandbox is told nothing."""
    if size.environment == SANDBOX:
        yield {}
        return
    with dg.open_pipes_session(
        context, dg.PipesEnvContextInjector(), FolderMessageReader(job, attempt)
    ) as session:
        yield dict(session.get_bootstrap_env_vars())


def _fetch_report(api: KubernetesApi, job: Job, attempt: int, pods: Sequence[Json]) -> None:
    """Out of the log of a pod that reaches no lake."""
    for pod in pods:
        if pod["metadata"]["labels"].get("snow/network") and not job.has(attempt, REPORT):
            report = report_in(api.log(pod["metadata"]["name"]))
            if report is not None:
                job.put(attempt, REPORT, report)


def _collected(job: Job, attempt: int, found: Json | None) -> bool:
    """Whether the report is there; those of pods that shared the work become one file of all."""
    num_shards = int(found["metadata"]["annotations"][SHARDS]) if found else 1
    if num_shards == 1 or job.has(attempt, REPORT):
        return job.has(attempt, REPORT)
    names = [f"report-{index:05d}.json" for index in range(num_shards)]
    if not all(job.has(attempt, name) for name in names):
        return False
    reports = [json.loads(job.get(attempt, name)) for name in names]
    job.put(attempt, REPORT, json.dumps(reports, indent=1).encode())
    return True


def _gpu_percent(job: Job, attempt: int) -> float | None:
    """The mean use of all pods' GPUs; None where there was none."""
    names = [name for name in job.names(attempt, "") if name.startswith("usage-")]
    found = [float(json.loads(job.get(attempt, name))["gpu_percent"]) for name in names]
    return sum(found) / len(found) if found else None


def _live_pods(api: KubernetesApi, job: Job) -> list[Json]:
    """Pods of any attempt that may still write."""
    found = api.list("pods", labelSelector=f"{DIGEST}={job.digest}")
    return [pod for pod in found if pod["status"].get("phase") not in ("Succeeded", "Failed")]


def _keep_evidence(
    api: KubernetesApi, job: Job, attempt: int, found: Json | None, pods: Sequence[Json]
) -> None:
    """The last lines of every pod and all events, beside the attempt's request."""
    logs = []
    for pod in pods:
        name = pod["metadata"]["name"]
        logs.append(f"--- {name}\n".encode() + api.log(name, lines=_KEPT_LOG_LINES))
    job.put(attempt, LOG, b"\n".join(logs))
    uids = [one["metadata"]["uid"] for one in ([found] if found else []) + list(pods)]
    events = [event for uid in uids for event in events_of(api, uid)]
    told = [
        {
            "object": event["involvedObject"]["name"],
            "time": event.get("lastTimestamp"),
            **{name: event.get(name) for name in ("type", "reason", "message", "count")},
        }
        for event in events
    ]
    job.put(attempt, "events.json", json.dumps(told, indent=1).encode())
