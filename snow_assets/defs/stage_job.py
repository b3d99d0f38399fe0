"""Run a stage's work: in this process, or in a Job of Ray nodes.

`python -m snow_assets.defs.stage_job JOB_FOLDER`, where `snow_assets.runtime.ray_nodes` has set
SNOW_RAY_ADDRESS. The Job gets the stage's name, its inputs' addresses and the recipe, and calls the
same function.
"""

import base64
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dagster as dg

from snow_assets.plots import Plot
from snow_assets.recipe import Recipe, set_chosen_recipe
from snow_assets.runtime import worker
from snow_assets.runtime.remaining_time import LOGGER
from snow_assets.stages import Artifact, ArtifactSpec, StageResult, StageRun
from snow_assets.storage import shards
from snow_assets.storage.integrity import reopen_jobs
from snow_resources.gpu_jobs import ENGINE, JobSize
from snow_resources.lake import Lake

_UNADDRESSED_FIELDS = ("lake", "recipe", "inputs", "config")
"""The output's fingerprint covers what they decide."""


@dataclass(frozen=True, kw_only=True)
class StageRequest:
    """A partition of a stage that is not finished yet."""

    stage: str
    partition: str
    output: str  # the artifact's folder
    lake: str
    inputs: tuple[Artifact, ...]
    recipe: Recipe
    config: Any


@dataclass(frozen=True, kw_only=True)
class PlotContent:
    title: str
    png_base64: str


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """What the stage's function returned, as plain JSON."""

    digest: str  # of the shards in the output's folder
    stats: dict[str, Any]
    markdown: dict[str, str]
    plots: dict[str, PlotContent]


def run_stage(run: StageRun, spec: ArtifactSpec) -> StageResult:
    """Call the stage's function where the recipe has it run."""
    execution = run.recipe.operation.curation
    if not run.stage.is_job(run.recipe):
        return run.stage.run(run)
    # What experiments change is part of their arms' recipes.
    request = StageRequest(
        stage=spec.asset,
        partition=spec.partition,
        output=run.folder,
        lake=run.lake.url,
        inputs=tuple(run.declared_inputs()),
        recipe=replace(run.recipe, experiments=(), promotion_gates=()),
        config=spec.config,
    )
    run_job = partial(
        run.jobs.run,
        run.context,
        "snow_assets.defs.stage_job",
        request,
        report=StageReport,
        code_version=spec.code_version,
        size=JobSize(
            environment=ENGINE,
            nodes=execution.nodes,
            cpus=execution.cpus,
            memory_gib=execution.memory_gib,
        ),
        unaddressed_fields=_UNADDRESSED_FIELDS,
    )
    job = run_job()
    if not _is_written(job.report, run.folder):
        run.context.log.warning(f"{_lost_message(job.folder, run.folder)}: the job runs again")
        reopen_jobs(run.lake.url, {run.folder})
        job = run_job()
    if not _is_written(job.report, run.folder):
        raise ValueError(
            f"{_lost_message(job.folder, run.folder)}: delete that folder, and run it again"
        )
    plots = {
        name: Plot(png=base64.b64decode(plot.png_base64), title=plot.title)
        for name, plot in job.report.plots.items()
    }
    markdown = {name: dg.MetadataValue.md(text) for name, text in job.report.markdown.items()}
    return StageResult(
        stats=job.report.stats,
        metadata={**markdown, **plots, "job": dg.MetadataValue.path(job.folder)},
    )


def _is_written(report: StageReport, folder: str) -> bool:
    return report.digest == shards.content_digest(shards.records(folder))


def _lost_message(job: str, folder: str) -> str:
    return f"{folder} does not hold what the job {job} wrote"


class _ProgressHandler(logging.Handler):
    """Sends the stage's log lines to the run."""

    def __init__(self, progress: worker.Progress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.log(record.getMessage())


def work(request: StageRequest, progress: worker.Progress) -> StageReport:
    """Call the stage's function with the request's inputs.

    Raises ValueError for a stage that this image's version of the project doesn't have.
    """
    set_chosen_recipe(request.recipe)
    from snow_assets.defs.graph import STAGES

    logger = logging.getLogger(LOGGER)
    logger.setLevel(logging.INFO)
    logger.addHandler(_ProgressHandler(progress))
    stage = next((each for each in STAGES if each.name == request.stage), None)
    if stage is None:
        raise ValueError(f"the engine's image has no stage {request.stage!r}: build it anew")
    artifacts = {(read.asset, read.partition): read for read in request.inputs}
    result = stage.run(
        StageRun(
            stage=stage,
            partition=request.partition,
            recipe=request.recipe,
            lake=Lake(url=request.lake),
            resolve=lambda asset, partition: artifacts[asset, partition],
            folder=request.output,
            config=request.config,
            context=dg.build_asset_context(),
        )
    )
    plots = {name: plot for name, plot in result.metadata.items() if isinstance(plot, Plot)}
    return StageReport(
        digest=shards.content_digest(shards.records(request.output)),
        stats=dict(result.stats),
        markdown={
            name: entry.value for name, entry in result.metadata.items() if name not in plots
        },
        plots={
            name: PlotContent(title=plot.title, png_base64=base64.b64encode(plot.png).decode())
            for name, plot in plots.items()
        },
    )


if __name__ == "__main__":
    worker.main(StageRequest, work)
