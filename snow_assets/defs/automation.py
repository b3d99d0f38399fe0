"""Automation: one sensor evaluates the plan and starts what is stale, in order.

A new source, an edited source, a changed opt-out list and a new annotator reach documents, scores,
subset and tables. Packs, synthesis, checkpoints and their evaluation are never redone for them
unasked, and an annotator is trained only where the recipe has none yet.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from snow_assets.defs.graph import STAGE_BY_NAME, STAGES
from snow_assets.defs.materialize import all_current_artifacts
from snow_assets.planning.history import Past
from snow_assets.planning.plan import TABLES, Planner
from snow_assets.planning.plan_steps import Step
from snow_assets.recipe import Recipe
from snow_assets.stages import UNPARTITIONED, Partitions, Stage, partition_names
from snow_assets.tables import graph as tables_graph
from snow_assets.tables import sources as table_sources
from snow_resources.publishing import project_digest

AUTOMATED = tuple(stage for stage in STAGES if stage.automation != "never")


def _automated(partitions: Partitions) -> dg.AssetSelection:
    return dg.AssetSelection.assets(
        *(stage.name for stage in AUTOMATED if stage.partitions is partitions)
    )


MAX_ATTEMPTS = 3
RETRY_SECONDS = 60.0
"""A run that failed is repeated after so long, then after twice as long; not a third time."""

KEY_TAG, REASON_TAG, ESTIMATE_TAG = "snow/automation", "snow/reason", "snow/estimate"

read_sources = dg.define_asset_job(
    "read_sources",
    selection=_automated(Partitions.SOURCES),
    description="Read a source without the repositories that opted out, and prepare its texts: "
    "documents, signatures, contamination.",
)
curate_languages = dg.define_asset_job(
    "curate_languages",
    selection=_automated(Partitions.LANGUAGES),
    description="Decide over the documents of a language, score the texts that have no score, and "
    "select and export the best of them.",
)
read_grades = dg.define_asset_job(
    "read_grades",
    selection=_automated(Partitions.GRADE_TABLES),
    description="Read a table of grades, and find its texts in the clean corpus.",
)
shared_steps = dg.define_asset_job(
    "shared_steps",
    selection=_automated(Partitions.NONE) | dg.AssetSelection.groups(tables_graph.GROUP),
    description="What all sources and languages share: the opt-out list, near duplicates, the "
    "tokenizer, the annotator and the published tables.",
)
_JOBS = {
    Partitions.SOURCES: read_sources,
    Partitions.LANGUAGES: curate_languages,
    Partitions.GRADE_TABLES: read_grades,
}


@dataclass(frozen=True)
class Group:
    """Steps of one partition that run together, in order, in one run."""

    partition: str
    steps: tuple[Step, ...]

    @property
    def key(self) -> str:
        """Names the work: the same steps with the same inputs have the same key."""
        parts = [self.partition, [[step.asset, step.fingerprint] for step in self.steps]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]

    @property
    def name(self) -> str:
        assets = (
            "tables"
            if self.steps[0].asset == TABLES
            else ", ".join(step.asset for step in self.steps)
        )
        return assets if self.partition == UNPARTITIONED else f"{assets} [{self.partition}]"


@dataclass
class Todo:
    """What is to do now, and what has to wait for what."""

    groups: list[Group] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)  # step -> why it is not run now


@dg.sensor(
    name="automation",
    jobs=[shared_steps, *_JOBS.values()],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    required_resource_keys={"lake", "recipe", "jobs", "tracking", "warehouse"},
    description="Carries new data, a changed opt-out list and a new annotator to documents, "
    "scores, subset and tables, in order. Never trains a checkpoint. Off until it is switched on.",
)
def automation(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for every group of steps whose inputs are there; say what waits, and why."""
    assert context.repository_def is not None
    resources = {
        name: getattr(context.resources, name)
        for name in ("lake", "recipe", "jobs", "tracking", "warehouse")
    }
    graph = context.repository_def.asset_graph
    yield from requests(graph, resources, context.instance, now=time.time())


def requests(
    graph: Any, resources: Mapping[str, Any], instance: dg.DagsterInstance, *, now: float
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """A run for each group that may start, or one reason why none does."""
    recipe: Recipe = resources["recipe"]
    busy = _busy(instance)
    todo = find_todo(graph, resources, instance, busy)
    waiting = [f"{name}: {reason}" for name, reason in todo.held.items()]
    is_idle = True

    def start(groups: Sequence[Group]) -> Iterator[dg.RunRequest]:
        nonlocal is_idle
        for group in groups:
            num_attempts, reason = _attempts(instance, group, now)
            if reason is None:
                is_idle = False
                yield _request(graph, group, num_attempts, recipe)
            else:
                waiting.append(f"{group.name}: {reason}")

    yield from start(todo.groups)
    if is_idle and not busy:
        yield from start(_tables(resources))
    if is_idle:
        waiting += [f"run {run_id[:8]} is not finished" for run_id in sorted(set(busy.values()))]
        yield dg.SkipReason("; ".join(waiting) or _up_to_date(recipe))


def _up_to_date(recipe: Recipe) -> str:
    by_hand = dict.fromkeys(stage.group for stage in STAGES if stage.automation == "never")
    return (
        f"all that automation runs is up to date with recipe {recipe.name}; it never runs "
        f"{', '.join(by_hand)}: `make plan` shows what is to do there"
    )


def _request(graph: Any, group: Group, num_attempts: int, recipe: Recipe) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{group.key}:{num_attempts}",
        job_name=_job(group.steps[0].asset).name,
        partition_key=None if group.partition == UNPARTITIONED else group.partition,
        asset_selection=_keys(graph, group),
        tags=_tags(group, recipe),
    )


def find_todo(
    graph: Any,
    resources: Mapping[str, Any],
    instance: dg.DagsterInstance,
    busy: Mapping[tuple[str, str], str],
) -> Todo:
    """Plan the automated steps; group those that may run, and hold back those that may not."""
    recipe: Recipe = resources["recipe"]
    planner = Planner(recipe, resources["lake"], Past(resources["lake"], recipe), resources)
    todo = Todo()
    ready: dict[tuple[str, str], Step] = {}  # to do now, by asset and partition
    blocked: dict[tuple[str, str], str] = {}
    for stage in AUTOMATED:
        partitions = partition_names(stage.partitions, recipe)
        for partition in partitions:
            if stage.automation == "if missing" and planner.keep_current(stage.name, partition):
                continue
            step = planner.step(stage, partition, len(partitions))
            if step.action == "reuse" and not step.reasons:
                continue
            reason = _held(stage, step, recipe, ready, blocked, busy)
            if reason is None and planner.fault is not None:
                reason = "waits for its inputs"
            reason = reason or _failed_check(graph, stage, recipe, instance)
            if reason is None:
                ready[stage.name, partition] = step
            else:
                blocked[stage.name, partition] = reason
                todo.held[_step_name(stage.name, partition)] = reason
    todo.groups = _grouped(ready)
    return todo


def _held(
    stage: Stage,
    step: Step,
    recipe: Recipe,
    ready: Mapping[tuple[str, str], Step],
    blocked: Mapping[tuple[str, str], str],
    busy: Mapping[tuple[str, str], str],
) -> str | None:
    """Why a step cannot be asked for now; None: it can."""
    if run_id := busy.get((step.asset, step.partition)):
        return f"run {run_id[:8]} works on it"
    if step.action == "fails":
        return step.reasons[0]
    for read in stage.inputs_of(recipe):
        is_same_partition = read.is_same_partition(stage.partitions)
        for asset, partition in (*ready, *blocked):
            if asset != read.stage.name or (is_same_partition and partition != step.partition):
                continue
            is_same_run = partition == step.partition and _job(asset) is _job(step.asset)
            if (asset, partition) in blocked or not is_same_run:
                return f"waits for {_step_name(asset, partition)}"
    return None


def _failed_check(
    graph: Any, stage: Stage, recipe: Recipe, instance: dg.DagsterInstance
) -> str | None:
    """A blocking check of an input that failed, and not as a warning, which stops this step in a
    run of its own too."""
    parents = {dg.AssetKey(read.stage.name) for read in stage.inputs_of(recipe)}
    checks = [
        check
        for check in graph.asset_check_keys
        if check.asset_key in parents and graph.get(check).blocking
    ]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    for check, record in latest.items():
        if record.status is not AssetCheckExecutionRecordStatus.FAILED:
            continue
        evaluation = record.evaluation
        if evaluation is not None and evaluation.severity is dg.AssetCheckSeverity.WARN:
            continue
        description = getattr(evaluation, "description", None) or "its page says why"
        return f"the check {check.name} of {check.asset_key.to_user_string()} failed: {description}"
    return None


def _grouped(ready: Mapping[tuple[str, str], Step]) -> list[Group]:
    groups: dict[tuple[str, str], list[Step]] = {}
    for (asset, partition), step in ready.items():
        groups.setdefault((_job(asset).name, partition), []).append(step)
    return [Group(partition, tuple(group)) for (_, partition), group in groups.items()]


def _tables(resources: Mapping[str, Any]) -> list[Group]:
    """The published tables, unless they show exactly what the recipe's pointers name."""
    lake, recipe, warehouse = resources["lake"], resources["recipe"], resources["warehouse"]
    current = [artifact.folder for artifact in all_current_artifacts(lake, recipe)]
    if not current:
        return []
    tables = table_sources.lake_tables(
        lake.url, current, recipe=recipe.name, project=project_digest(warehouse.project)
    )
    if warehouse.published(tables.digest) is not None:
        return []
    step = Step(
        asset=TABLES,
        partition=UNPARTITIONED,
        action="redo",
        reasons=("what they show has changed",),
        fingerprint=tables.digest,
    )
    return [Group(UNPARTITIONED, (step,))]


def _keys(graph: Any, group: Group) -> list[dg.AssetKey]:
    if group.steps[0].asset == TABLES:
        return [
            key
            for key in graph.executable_asset_keys
            if graph.get(key).group_name == tables_graph.GROUP
        ]
    return [dg.AssetKey(step.asset) for step in group.steps]


def _attempts(instance: dg.DagsterInstance, group: Group, now: float) -> tuple[int, str | None]:
    """How often a group was tried, and why it must not be tried now."""
    records = instance.get_run_records(filters=dg.RunsFilter(tags={KEY_TAG: group.key}))
    for record in records:
        if not record.dagster_run.is_finished:
            return len(records), f"run {record.dagster_run.run_id[:8]} works on it"
    if not records:
        return 0, None
    last = records[0]
    run_id = last.dagster_run.run_id[:8]
    if len(records) >= MAX_ATTEMPTS:
        return len(records), (
            f"failed {len(records)} times, last in run {run_id}: correct what it says, then "
            "materialize it by hand"
        )
    left = RETRY_SECONDS * 2 ** (len(records) - 1) - (now - (last.end_time or now))
    if left > 0:
        return len(records), f"failed in run {run_id}, tried again in {left:.0f} s"
    return len(records), None


def _busy(instance: dg.DagsterInstance) -> dict[tuple[str, str], str]:
    """Steps that an unfinished run materializes -> the run's id, whatever started it."""
    busy: dict[tuple[str, str], str] = {}
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        partition = run.tags.get("dagster/partition", UNPARTITIONED)
        for key in run.asset_selection or ():
            busy[key.path[-1], partition] = run.run_id
    return busy


def _tags(group: Group, recipe: Recipe) -> dict[str, str]:
    reasons = dict.fromkeys(reason for step in group.steps for reason in step.reasons)
    seconds = sum(step.cost.seconds for step in group.steps if step.cost)
    price = sum(step.cost.price for step in group.steps if step.cost)
    return {
        "snow/recipe": recipe.name,
        KEY_TAG: group.key,
        REASON_TAG: "; ".join(reasons)[:500],
        ESTIMATE_TAG: f"{seconds:.0f} s, {price:.2f} {recipe.operation.currency}",
    }


def _job(asset: str) -> Any:
    stage = STAGE_BY_NAME.get(asset)
    return shared_steps if stage is None else _JOBS.get(stage.partitions, shared_steps)


def _step_name(asset: str, partition: str) -> str:
    return asset if partition == UNPARTITIONED else f"{asset} [{partition}]"
