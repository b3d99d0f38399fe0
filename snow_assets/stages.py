"""Stage specifications: what every stage reads, is configured by, writes, needs and costs.

A stage is stated once, by the decorator `stage` over the function that does its work. Dagster's
assets, plans, automation, job selections, purge, opt-out traces, table sources and estimates derive
from these specifications (`snow_assets.defs.graph.STAGES` lists them in order).
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

import dagster as dg
import pyarrow as pa
from pydantic import TypeAdapter

from snow_assets.experiments.arms import arm_runs
from snow_assets.recipe import Recipe
from snow_assets.storage import shards
from snow_assets.storage.sizes import Size
from snow_resources.lake import Lake
from snow_resources.live_runs import LiveRun
from snow_resources.tracking import TrackedModel

UNPARTITIONED = "all"
"""The partition's name of a stage without partitions."""


class Partitions(StrEnum):
    """What a stage's partitions are; the recipe names them."""

    NONE = "none"
    SOURCES = "sources"
    LANGUAGES = "languages"
    GRADE_TABLES = "grade_tables"  # that annotators learn from
    PHASES = "phases"  # of pretraining
    ARM_SEEDS = "arm_seeds"  # of all experiments
    EXPERIMENTS = "experiments"


def partition_names(partitions: Partitions, recipe: Recipe) -> tuple[str, ...]:
    """The names of the recipe's partitions; sources in name order, the others in the recipe's."""
    if partitions is Partitions.SOURCES:
        return tuple(sorted(source.name for source in recipe.corpus.sources))
    if partitions is Partitions.LANGUAGES:
        return tuple(recipe.curation.languages)
    if partitions is Partitions.GRADE_TABLES:
        return tuple(table.name for table in recipe.grade_tables)
    if partitions is Partitions.PHASES:
        return tuple(phase.name for phase in recipe.pretraining.phases)
    if partitions is Partitions.ARM_SEEDS:
        return tuple(run.partition for run in arm_runs(recipe))
    if partitions is Partitions.EXPERIMENTS:
        return tuple(experiment.name for experiment in recipe.experiments)
    return (UNPARTITIONED,)


@dataclass(frozen=True)
class Artifact:
    """A finished artifact that a recipe's pointer names, or one that is planned."""

    asset: str
    partition: str
    folder: str
    fingerprint: str
    digest: str

    @property
    def is_pending(self) -> bool:
        """Whether a plan expects it and it is not made yet."""
        return self.fingerprint == PENDING

    def as_input(self) -> shards.Input:
        return shards.Input(
            asset=self.asset,
            partition=self.partition,
            fingerprint=self.fingerprint,
            digest=self.digest,
        )


@dataclass(frozen=True, kw_only=True)
class ArtifactSpec:
    """What an artifact is made from, known before any work: its fingerprint follows from it."""

    asset: str
    partition: str
    code_version: str
    config: Any  # plain JSON
    inputs: Sequence[Artifact]

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of all the above; inputs count by their digests."""
        parts = [self.asset, self.partition, self.code_version, self.config]
        parts += [[read.asset, read.partition, read.digest] for read in self.inputs]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def as_json(value: Any) -> Any:
    """A recipe's dataclass (or a dict of such) as plain JSON."""
    return json.loads(TypeAdapter(Any).dump_json(value))


PENDING = "pending"
"""Fingerprint of an artifact that a plan expects and that is not made yet."""


def always(_: Recipe) -> bool:
    return True


def _never(_: Recipe) -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Input:
    """A stage that another reads.

    By default the same partition where both have the same kind of partitions, else all partitions.
    """

    stage: "Stage"
    all_partitions: bool = False
    """All partitions although both stages have the same kind."""
    only_partition: str | None = None
    """Read by the partition of this name alone."""
    is_fingerprinted: bool = True
    """False: the stage runs after it, but what it holds is no part of the fingerprint."""
    missing_ok: bool = False
    """Partitions that were never materialized are left out; else they are an error."""
    applies: Callable[[Recipe], bool] = always
    """Whether the recipe makes the stage read it."""

    def is_same_partition(self, partitions: Partitions) -> bool:
        """Whether a stage with such partitions reads only its own partition of the input."""
        return self.stage.partitions is partitions and not self.all_partitions


@dataclass(frozen=True, kw_only=True)
class StageTable:
    """A table that a stage writes as shards."""

    name: str
    schema: pa.Schema
    repository_column: str | None = None
    """Names the repository that a row comes from: what opt-outs are looked up by."""
    is_dbt_source: bool = True
    dbt_source: str | None = None
    """The name of the dbt source that joins this table of several stages; None: the stage's own."""


def _no_gpus(_: Recipe) -> int:
    return 0


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """What a stage comes to before it was ever measured, by the recipe's values and rates."""

    gpus: Callable[[Recipe], int] = _no_gpus
    model_tokens: Callable[[Recipe], float] | None = None
    """Tokens that a model reads or writes where the recipe fixes them, whatever the inputs."""
    past_model_tokens: Callable[[Mapping[str, Any]], float] | None = None
    """The same of a finished artifact, from its manifest's config."""
    output_tokens: Callable[[Recipe], float] | None = None
    """Tokens of all partitions' output where the recipe says how many."""
    stored_fraction: float | None = 1.0
    """Stored bytes per byte of the corpus's text; None: the size does not follow the corpus."""
    seconds: Callable[[Recipe, Size], float] | None = None
    """By the recipe's rates and the output's size; None: by the rate of curation."""
    gpu_memory_bytes: Callable[[Recipe], float] | None = None
    """Of each GPU, where the recipe states the GPUs' memory (`operation.pretraining`)."""


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a stage's work hands back, beside the files that it left in its folder."""

    stats: Mapping[str, Any]
    """Small and JSON, kept in the manifest; its numbers become MLflow metrics."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """For the Dagster page: plots (`plots.Plot`), Markdown, JSON, numbers. Kept in the artifact."""
    metrics: Sequence[Mapping[str, Any]] = ()
    """By step, for MLflow: `{"step": 10, "time": ..., "loss": 2.3}`."""
    model: TrackedModel | None = None
    inputs: Sequence[Artifact] = ()
    """What the output rests on beside the declared inputs, such as what the work itself made: kept
    in the manifest with them, and no part of the fingerprint."""


class ResolveInput(Protocol):
    """Finds an artifact by asset and partition; FileNotFoundError: it was never materialized."""

    def __call__(self, asset: str, partition: str) -> Artifact: ...


@dataclass(frozen=True, kw_only=True)
class StageInputs:
    """What a stage's config may depend on: the recipe, the partition and the declared inputs."""

    stage: "Stage"
    partition: str
    recipe: Recipe
    lake: Lake
    resolve: ResolveInput
    resources: Mapping[str, Any] = field(default_factory=dict)
    resolved: list[Artifact] = field(default_factory=list)
    """Every input that was looked up, in order of the first time."""

    def input(self, stage: "Stage") -> Artifact:
        """The artifact of a declared input: of the own partition, or of an unpartitioned stage.

        KeyError if no such input is declared, so that the graph cannot miss one.
        """
        return self._declared(stage, is_single=True)[0]

    def inputs(self, stage: "Stage") -> list[Artifact]:
        """All partitions of a declared input, in order; KeyError as in `input`."""
        return self._declared(stage, is_single=False)

    def folders(self, stage: "Stage") -> list[str]:
        """The folders of `inputs`."""
        return [artifact.folder for artifact in self.inputs(stage)]

    @property
    def jobs(self) -> Any:
        """The resource that runs workers; KeyError if the stage declares none."""
        return self.resources["jobs"]

    def declared_inputs(self, *, only_fingerprinted: bool = False) -> list[Artifact]:
        """The artifacts of all declared inputs; one that is declared twice stands there twice."""
        return [
            artifact
            for declared in self.stage.inputs
            if declared.is_fingerprinted or not only_fingerprinted
            for artifact in self._artifacts(declared)
        ]

    def artifact_spec(self) -> ArtifactSpec:
        """All that the artifact's fingerprint is made from."""
        return ArtifactSpec(
            asset=self.stage.name,
            partition=self.partition,
            code_version=self.stage.code_version,
            config=as_json(self.stage.config(self)),
            inputs=self.declared_inputs(only_fingerprinted=True),
        )

    def _declared(self, stage: "Stage", *, is_single: bool) -> list[Artifact]:
        for declared in self.stage.inputs:
            is_one = stage.partitions is Partitions.NONE or declared.is_same_partition(
                self.stage.partitions
            )
            if declared.stage is stage and is_one == is_single:
                return self._artifacts(declared)
        kind = "artifact" if is_single else "all partitions"
        raise KeyError(f"{self.stage.name} declares no input {stage.name} ({kind})")

    def _artifacts(self, declared: Input) -> list[Artifact]:
        if not declared.applies(self.recipe):
            return []
        if declared.only_partition not in (None, self.partition):
            return []
        names = (
            (self.partition,)
            if declared.is_same_partition(self.stage.partitions)
            else partition_names(declared.stage.partitions, self.recipe)
        )
        artifacts = []
        for name in names:
            try:
                artifacts.append(self.resolve(declared.stage.name, name))
            except FileNotFoundError:
                if not declared.missing_ok:
                    raise
        self.resolved.extend(item for item in artifacts if item not in self.resolved)
        return artifacts


@dataclass(frozen=True, kw_only=True)
class StageRun(StageInputs):
    """What a stage's work gets: its inputs, and the folder that it writes shards to."""

    folder: str
    config: Any  # of the artifact's fingerprint: plain JSON
    context: dg.AssetExecutionContext
    live_run: Callable[[TrackedModel | None], LiveRun] | None = None
    """The MLflow run of this work, for metrics while it runs; None in a Job of the stage itself."""


Automation = Literal["always", "if missing", "never"]
"""When automation materializes a stage: whenever it is stale, only if the recipe has none yet, or
only when a person starts it."""


def _no_config(_: StageInputs) -> Any:
    return {}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of the recipe; each of its partitions becomes an immutable artifact.

    `run` writes shards to its folder (resuming by their records) and must be a function of config
    and fingerprinted inputs alone. `config` is plain data: the part of the recipe that decides
    over the output, and what is read from outside the lake.
    """

    name: str
    description: str
    group: str
    code_version: str
    run: Callable[[StageRun], StageResult]
    config: Callable[[StageInputs], Any] = _no_config
    inputs: tuple[Input, ...] = ()
    partitions: Partitions = Partitions.NONE
    tables: tuple[StageTable, ...] = ()
    kinds: frozenset[str] = frozenset()
    owner: str = ""
    resources: frozenset[str] = frozenset()
    """Beside lake, tracking and recipe: `jobs` (workers), `teacher`."""
    runs_jobs: Callable[[Recipe], bool] = _never
    """Whether the recipe makes its work run workers, where `resources` has no `jobs`."""
    is_distributed: Callable[[Recipe], bool] = _never
    """Whether its work uses the exchange: with `operation.curation.nodes` it then runs in a Job of
    Ray nodes."""
    automation: Automation = "never"
    incremental_input: "Stage | None" = None
    """The input of which only new shards are worked off."""
    holds_text: bool = True
    """False: it may be shaped by a repository and holds no copy; purge reports and keeps it."""
    keeps_history: bool = False
    """Artifacts that no pointer names are kept, and stay in the tables."""
    is_retrained_by_hand: bool = False
    """What a new opt-out is only reported of: checkpoints and their results."""
    is_checkpoint: bool = False
    cost: CostModel = field(default_factory=CostModel)

    def inputs_of(self, recipe: Recipe) -> list[Input]:
        """The inputs that the recipe makes it read."""
        return [read for read in self.inputs if read.applies(recipe)]

    def required_resources(self, recipe: Recipe) -> frozenset[str]:
        """Beside lake, tracking and recipe: what the recipe makes the stage need."""
        needs_jobs = self.is_job(recipe) or self.runs_jobs(recipe)
        return self.resources | {"jobs"} if needs_jobs else self.resources

    def is_job(self, recipe: Recipe) -> bool:
        """Whether all of its work runs in a Job of Ray nodes."""
        return self.is_distributed(recipe) and recipe.operation.curation.nodes > 0


def stage(
    *,
    group: str,
    code_version: str,
    name: str | None = None,
    description: str | None = None,
    kinds: Iterable[str] = (),
    resources: Iterable[str] = (),
    **fields: Any,
) -> Callable[[Callable[[StageRun], StageResult]], Stage]:
    """Make a `Stage` of the function that does its work; its docstring is the description."""

    def decorated(run: Callable[[StageRun], StageResult]) -> Stage:
        return Stage(
            name=name or run.__name__,
            description=description or inspect.getdoc(run) or "",
            group=group,
            code_version=code_version,
            run=run,
            kinds=frozenset(kinds),
            resources=frozenset(resources),
            owner=OWNERS[group],
            **fields,
        )

    return decorated


OWNERS = {
    "corpus": "team:data",
    "curation": "team:data",
    "quality": "team:data",
    "synthesis": "team:models",
    "pretraining": "team:models",
    "evaluation": "team:models",
    "experiments": "team:models",
    "tables": "team:data",
}
"""Who is asked about a group's stages, as Dagster's pages show it."""
