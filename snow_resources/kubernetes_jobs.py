"""GPU jobs as Kubernetes Jobs: create or adopt a Job, wait for its conditions, explain its state.

A Job's name holds asset, partition, digest of the work and attempt. Every run waits for the first
unfinished attempt, no matter which run started it; a failed attempt is followed by the next one.
Only a cancelled run that releases the last lease deletes a Job (`kubernetes_job_leases.py`).
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
from snow_resources.isolated_jobs import isolated_manifest, parse_report, request_config_maps
from snow_resources.job_manifest import DIGEST, SHARDS, job_name, read_yaml, render
from snow_resources.job_messages import FolderMessageReader
from snow_resources.job_state import JobState, job_state
from snow_resources.k8s_config import k8s_config_patches
from snow_resources.kubernetes_api import KubernetesApi, list_events, until
from snow_resources.kubernetes_job_leases import acquire_lease, release_lease
from snow_resources.orphan_cleanup import delete_orphaned_jobs

Json = dict[str, Any]

_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0
_FAILURE_POLICY_VERSION = (1, 31)  # podFailurePolicy is stable
_KEPT_LOG_LINES = 2_000
_PODS_DELETED_SECONDS = 600.0  # their grace and more; those of a lost node are not waited for


class KubernetesJobs(GpuJobs):
    """Runs jobs in a namespace of the cluster of this process's kubeconfig or pod."""

    namespace: str
    images: dict[str, str]  # by environment: trainer, vllm, engine
    pythons: dict[str, str] = Field(default_factory=dict)  # in each image, if not `python`
    patches: list[str] = Field(default_factory=list)  # files, each a strategic-merge patch on Jobs
    assets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Asset -> its Jobs' `dagster-k8s/config`, which become the tags of the asset's op."""
    sandbox_namespace: str = ""  # with a deny-all NetworkPolicy; empty: the same namespace
    sandbox_patches: list[str] = Field(default_factory=list)  # on the sandbox's Jobs only
    sandbox_canary: str = ""  # host:port that is up, and that a sandbox must not reach
    shards: dict[str, int] = Field(default_factory=dict)  # a module's last name -> number of pods
    parallelism: dict[str, int] = Field(default_factory=dict)  # and how many of them at once
    queue: str = ""  # Kueue's local queue, if Kueue admits the Jobs
    queue_seconds: int = 86_400  # limit for suspended, unschedulable or without quota
    start_seconds: int = 1_800  # limit from scheduling to running
    run_seconds: int = 604_800  # limit of a pod's run, enforced by the cluster
    unclaimed_grace_seconds: int = 3_600  # before an orphaned Job is deleted
    max_attempts: int = 3  # of one run, after transient failures
    gpu_hour_price: float = 0.0  # in your currency; 0: no cost is shown
    cpu_hour_price: float = 0.0
    kubeconfig: str = ""  # a file; empty: this pod's service account, or KUBECONFIG
    patience_seconds: float = 1_800.0  # retries of calls to the API server

    def delete_orphans(self, instance: dg.DagsterInstance) -> list[str]:
        """Delete live Jobs whose runs ended before the grace period; return their names."""

        def end_of_run(run_id: str) -> float | None:
            record = instance.get_run_record_by_id(run_id)
            return record.end_time if record is not None else None

        return [
            name
            for namespace in sorted({self.namespace, self.sandbox_namespace or self.namespace})
            for name in delete_orphaned_jobs(
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
        is_isolated = size.environment == SANDBOX
        api = self._api((is_isolated and self.sandbox_namespace) or self.namespace)
        for number in range(1, self.max_attempts + 1):
            attempt, state = self._run_attempt(context, api, job, size)
            if state.phase == "complete":
                self._add_metadata(context, job, attempt, size, state)
                return attempt
            if not state.is_passing or number == self.max_attempts:
                break
            context.log.warning(f"{job_name(job, attempt)}: {state.why}; the next attempt starts")
        raise self._failure(job, attempt, state)

    def _run_attempt(
        self, context: dg.AssetExecutionContext, api: KubernetesApi, job: Job, size: JobSize
    ) -> tuple[int, JobState]:
        """Run an attempt to its end, or wait for an attempt that another run started."""
        while True:
            attempt = _next_attempt(job)
            job.put(attempt, REQUEST, job.request)
            with _pipes_environment(context, job, attempt, size) as environment:
                manifest = self._manifest(context, api, job, attempt, size, environment)
                name = manifest["metadata"]["name"]
                try:
                    state = self._await_job(context, api, job, manifest)
                except (DagsterExecutionInterruptedError, KeyboardInterrupt):
                    context.log.info(f"{name}: cancelled; its lease is released")
                    if self._release(context, api, name):
                        _write_end(job, attempt, JobState(phase="failed", why="cancelled"))
                    raise
            if state is None:  # it ended before, or another run has just cancelled it
                _write_end(
                    job, attempt, JobState(phase="failed", why="an earlier run's; it was over")
                )
                continue
            return attempt, self._finish_attempt(context, api, job, attempt, state)

    def _manifest(
        self,
        context: dg.AssetExecutionContext,
        api: KubernetesApi,
        job: Job,
        attempt: int,
        size: JobSize,
        environment: dict[str, str],
    ) -> Json:
        is_isolated = size.environment == SANDBOX
        python = self.pythons.get("trainer" if is_isolated else size.environment, "python")
        files = self.sandbox_patches if is_isolated else self.patches
        patches = [read_yaml(Path(file)) for file in files]
        if not is_isolated:  # tags must not open a sandbox
            patches += k8s_config_patches(context.op_def.tags, context.run.tags)
        manifest = render(
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
            patches=patches,
        )
        if not is_isolated:
            return manifest
        if not self.sandbox_canary:
            raise dg.Failure(
                "sandbox_canary is not set: name a host:port that is up, so that a sandbox can "
                "prove that it does not reach it"
            )
        return isolated_manifest(manifest, job, python=python, canary=self.sandbox_canary)

    def _await_job(
        self, context: dg.AssetExecutionContext, api: KubernetesApi, job_spec: Job, manifest: Json
    ) -> JobState | None:
        """Wait for the Job's end, created or adopted by this run; None: it had ended before."""
        name = manifest["metadata"]["name"]
        leased_job = acquire_lease(api, manifest, run_id=context.run.run_id)
        if leased_job is None:
            return None
        if job_state(leased_job, _pods(api, name)).phase == "failed":
            return None
        if "snow/network" in manifest["spec"]["template"]["metadata"]["labels"]:
            for config_map in request_config_maps(job_spec, leased_job):
                api.create("configmaps", config_map)
        context.log.info(f"Job {name} in namespace {self.namespace}")
        began = entered = time.monotonic()
        logged: tuple[str, str] = ("", "")
        while True:
            job = api.get("jobs", name)
            if job is None:
                return JobState(
                    phase="failed", why="the Job was deleted from outside", is_passing=True
                )
            state = self._explain(api, job, job_state(job, _pods(api, name)))
            if state.phase in ("complete", "failed"):
                return state
            now = time.monotonic()
            if state.phase != logged[0]:
                entered = now
            if (state.phase, state.why) != logged:
                logged = (state.phase, state.why)
                context.log.info(f"{name}: {state.phase}: {state.why}")
            limit = {"queued": self.queue_seconds, "starting": self.start_seconds}.get(state.phase)
            if limit is not None and now - entered > limit:
                why = f"{state.phase} for more than its limit of {limit} s: {state.why}"
                return JobState(phase="failed", why=why, queue_seconds=state.queue_seconds)
            pause = (now - began) / 10
            time.sleep(min(max(pause, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS))

    def _explain(self, api: KubernetesApi, job: Json, state: JobState) -> JobState:
        """Add the reason from the events of a Job without pods (quota, missing account)."""
        if (state.phase, state.why) != ("queued", "no pod yet"):
            return state
        warnings = [
            event
            for event in list_events(api, job["metadata"]["uid"])
            if event.get("type") == "Warning"
        ]
        why = f"no pod yet: {warnings[-1].get('message')}" if warnings else state.why
        return JobState(phase="queued", why=why)

    def _finish_attempt(
        self,
        context: dg.AssetExecutionContext,
        api: KubernetesApi,
        job: Job,
        attempt: int,
        state: JobState,
    ) -> JobState:
        """Store logs, events and report in the lake; a complete Job without a report has failed."""
        name = job_name(job, attempt)
        existing = api.get("jobs", name)
        pods = _pods(api, name)
        _store_logs_and_events(api, job, attempt, existing, pods)
        if state.phase == "complete":
            _fetch_report(api, job, attempt, pods)
        if state.phase == "complete" and not _collect_reports(job, attempt, existing):
            state = JobState(phase="failed", why="complete, but without a report")
        if (
            existing is not None
            and state.phase == "failed"
            and not existing["status"].get("conditions")
        ):
            self._release(
                context, api, name
            )  # past this run's limit: other runs may have a longer one
        if state.phase == "failed":  # two attempts must never write at once
            until(lambda: not _live_pods(api, job), seconds=_PODS_DELETED_SECONDS)
        _write_end(job, attempt, state)
        return state

    def _release(self, context: dg.AssetExecutionContext, api: KubernetesApi, name: str) -> bool:
        def is_finished(run_id: str) -> bool:
            run = context.instance.get_run_by_id(run_id)
            return run is not None and run.is_finished

        return release_lease(api, name, run_id=context.run.run_id, is_finished=is_finished)

    def _add_metadata(
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
    """The resource from a site's file (`k8s/example/jobs.yaml`); patches are relative to it."""
    config = read_yaml(settings)
    patches = [str(settings.parent / patch) for patch in config.pop("patches", [])]
    sandbox_patches = [str(settings.parent / patch) for patch in config.pop("sandbox_patches", [])]
    return KubernetesJobs(url=url, patches=patches, sandbox_patches=sandbox_patches, **config)


def _next_attempt(job: Job) -> int:
    """The first attempt that has not ended."""
    last = max(job.attempts(), default=0)
    return last if last and not job.has(last, ENDED) else last + 1


def _write_end(job: Job, attempt: int, state: JobState) -> None:
    job.put(attempt, ENDED, json.dumps(asdict(state), indent=1).encode())


def _pods(api: KubernetesApi, name: str) -> list[Json]:
    return api.list("pods", labelSelector=f"job-name={name}")


@contextmanager
def _pipes_environment(
    context: dg.AssetExecutionContext, job: Job, attempt: int, size: JobSize
) -> Iterator[dict[str, str]]:
    """Open a Dagster Pipes session and yield its environment variables; empty for a sandbox."""
    if size.environment == SANDBOX:
        yield {}
        return
    with dg.open_pipes_session(
        context, dg.PipesEnvContextInjector(), FolderMessageReader(job, attempt)
    ) as session:
        yield dict(session.get_bootstrap_env_vars())


def _fetch_report(api: KubernetesApi, job: Job, attempt: int, pods: Sequence[Json]) -> None:
    """Copy the report from the log of a pod without lake to the attempt's folder."""
    for pod in pods:
        if pod["metadata"]["labels"].get("snow/network") and not job.has(attempt, REPORT):
            report = parse_report(api.log(pod["metadata"]["name"]))
            if report is not None:
                job.put(attempt, REPORT, report)


def _collect_reports(job: Job, attempt: int, existing: Json | None) -> bool:
    """Merge the reports of a sharded job into a single file; return whether the report exists."""
    num_shards = int(existing["metadata"]["annotations"][SHARDS]) if existing else 1
    if num_shards == 1 or job.has(attempt, REPORT):
        return job.has(attempt, REPORT)
    names = [f"report-{index:05d}.json" for index in range(num_shards)]
    if not all(job.has(attempt, name) for name in names):
        return False
    reports = [json.loads(job.get(attempt, name)) for name in names]
    job.put(attempt, REPORT, json.dumps(reports, indent=1).encode())
    return True


def _gpu_percent(job: Job, attempt: int) -> float | None:
    """Mean utilisation of all pods' GPUs; None without a GPU."""
    names = [name for name in job.names(attempt, "") if name.startswith("usage-")]
    percentages = [float(json.loads(job.get(attempt, name))["gpu_percent"]) for name in names]
    return sum(percentages) / len(percentages) if percentages else None


def _live_pods(api: KubernetesApi, job: Job) -> list[Json]:
    """Pods of any attempt that may still write."""
    pods = api.list("pods", labelSelector=f"{DIGEST}={job.digest}")
    return [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]


def _store_logs_and_events(
    api: KubernetesApi, job: Job, attempt: int, existing: Json | None, pods: Sequence[Json]
) -> None:
    """Store the last log lines of every pod and all events in the attempt's folder."""
    logs = []
    for pod in pods:
        name = pod["metadata"]["name"]
        logs.append(f"--- {name}\n".encode() + api.log(name, lines=_KEPT_LOG_LINES))
    job.put(attempt, LOG, b"\n".join(logs))
    objects = ([existing] if existing else []) + list(pods)
    uids = [item["metadata"]["uid"] for item in objects]
    events = [event for uid in uids for event in list_events(api, uid)]
    entries = [
        {
            "object": event["involvedObject"]["name"],
            "time": event.get("lastTimestamp"),
            **{name: event.get(name) for name in ("type", "reason", "message", "count")},
        }
        for event in events
    ]
    job.put(attempt, "events.json", json.dumps(entries, indent=1).encode())
