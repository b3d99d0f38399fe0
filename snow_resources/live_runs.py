"""MLflow run of a materialization that is in progress: its metrics arrive while it works.

The run, its logged model and the metrics are completed when the artifact is recorded
(`mlflow_runs.write`). A run that goes on after a kill continues the run of its fingerprint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from snow_resources.tracking import Record, Tracking

if TYPE_CHECKING:
    from snow_resources.mlflow_runs import OpenRun


@dataclass
class LiveRun:
    """Logs metrics of `record`, whose output is pending, at the time of the call.

    The MLflow run is created with the first metrics. A step is logged once, although a resumed job
    repeats it. What MLflow does not accept is kept in memory, and tried again with the next
    metrics. As a context manager it marks the run as failed if the work raises.
    """

    tracking: Tracking
    record: Record
    log: Any
    _pending: list[Mapping[str, Any]] = field(default_factory=list)
    _run: "OpenRun | None" = None
    _has_warned: bool = False

    def log_metrics(self, entries: Sequence[Mapping[str, Any]]) -> None:
        if not self.tracking.uri:
            return
        self._pending += entries
        runs = self.tracking.runs()
        try:
            if self._run is None:
                self._run = runs.open_run(self.tracking.uri, self.record)
                if url := self.tracking.run_url(self._run.experiment_id, self._run.run_id):
                    self.log.info(f"metrics while it runs: {url}")
            record = replace(self.record, metrics=[dict(entry) for entry in self._pending])
            self._run = runs.log_steps(self.tracking.uri, self._run, record)
        except runs.UNREACHABLE as error:
            if not self._has_warned:
                self._has_warned = True
                self.log.warning(f"MLflow does not accept metrics now ({error}); they are kept")
            return
        self._pending, self._has_warned = [], False

    def __enter__(self) -> "LiveRun":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or self._run is None:
            return
        runs = self.tracking.runs()
        try:
            runs.fail_run(self.tracking.uri, self._run)
        except runs.UNREACHABLE as unreachable:
            self.log.warning(f"MLflow still shows run {self._run.run_id} as running: {unreachable}")
