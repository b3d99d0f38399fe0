"""What a recipe would reuse and redo, why, and what it would cost: `make plan`.

A look-up: the fingerprint of every stage's artifact is computed from its specification, in the
graph's order; nothing is materialized. An input that has to be made anew is *pending*, and so is
all that reads it; should it come out as it was, what follows is reused after all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from snow_assets.defs.corpus import raw_code_corpus
from snow_assets.defs.unfinished import unfinished_artifacts
from snow_assets.planning import estimates
from snow_assets.planning.history import Past
from snow_assets.planning.plan_steps import Plan, Step, UnfinishedArtifact
from snow_assets.recipe import Recipe
from snow_assets.stages import (
    PENDING,
    UNPARTITIONED,
    Artifact,
    ArtifactSpec,
    Stage,
    StageInputs,
    as_json,
    partition_names,
)
from snow_assets.storage import shards
from snow_assets.storage.differences import by_asset, changed_code, changed_config
from snow_assets.storage.integrity import readable_records
from snow_assets.storage.sizes import Size, size_of, total_size
from snow_assets.tables import sources as table_sources
from snow_resources.lake import Lake
from snow_resources.publishing import project_digest


@dataclass
class Planner:
    recipe: Recipe
    lake: Lake
    past: Past
    resources: Mapping[str, Any]
    artifacts: dict[tuple[str, str], Artifact] = field(default_factory=dict)
    """The recipe's artifacts as they will be, by asset and partition. The digest of a pending one
    stands for what it is made from: two recipes that share a step plan the same digest."""
    sizes: dict[tuple[str, str], Size] = field(default_factory=dict)
    unfinished: list[UnfinishedArtifact] = field(default_factory=list)
    fault: Exception | None = None
    """Why the last step has no fingerprint; with pending inputs, that they cannot be read yet."""

    def resolve(self, asset: str, partition: str) -> Artifact:
        """The planned artifact; FileNotFoundError if the plan has none."""
        if (asset, partition) not in self.artifacts:
            raise FileNotFoundError(f"{asset} [{partition}] is not in the plan")
        return self.artifacts[asset, partition]

    def step(self, stage: Stage, partition: str, num_partitions: int) -> Step:
        """What is to do for a partition of a stage."""
        inputs = StageInputs(
            stage=stage,
            partition=partition,
            recipe=self.recipe,
            lake=self.lake,
            resolve=self.resolve,
            resources={name: self.resources[name] for name in stage.resources},
        )
        spec, self.fault = None, None
        try:
            spec = inputs.artifact_spec()
        except (OSError, ValueError) as error:
            # Pending inputs cannot be read; whatever else is wrong, the run would meet it too.
            self.fault = error
        reads = inputs.resolved
        is_pending = any(read.is_pending for read in (reads if spec is None else spec.inputs))
        latest = self.past.latest(stage.name, partition, spec)
        if self.fault is not None and not is_pending:
            step = Step(
                asset=stage.name,
                partition=partition,
                action="fails",
                reasons=(str(self.fault),),
            )
            return self._pending(stage, step, latest, num_partitions, reads, spec)
        if spec is not None and not is_pending:
            folder = self.lake.artifact(stage.name, partition, spec.fingerprint)
            if self.past.manifest(folder) is not None and not self.past.violations(folder):
                return self._reused(stage.name, partition, spec.fingerprint, latest)
        step = self._redone(stage, partition, spec, reads, latest)
        if spec is not None and not is_pending:
            step = replace(step, fingerprint=spec.fingerprint)
        self.unfinished += self._unfinished(stage.name, partition, None if is_pending else spec)
        return self._pending(stage, step, latest, num_partitions, reads, spec)

    def keep_current(self, asset: str, partition: str) -> bool:
        """Plan with what the recipe's pointer names, whatever it was made from; whether it is."""
        manifest = self.past.current(asset, partition)
        if manifest is None:
            return False
        self._plan(asset, partition, manifest.fingerprint, manifest.digest)
        self.sizes[asset, partition] = size_of(manifest)
        return True

    def _reused(
        self, asset: str, partition: str, fingerprint: str, latest: shards.Manifest | None
    ) -> Step:
        manifest = self.past.manifest(self.lake.artifact(asset, partition, fingerprint))
        assert manifest is not None
        self._plan(asset, partition, fingerprint, manifest.digest)
        self.sizes[asset, partition] = size_of(manifest)
        is_other = latest is None or latest.fingerprint != fingerprint
        pointer = self.lake.pointer(self.recipe.name, asset, partition)
        reasons = ["made earlier, not the current one"] if is_other else []
        reasons += [self.past.damaged[pointer]] if pointer in self.past.damaged else []
        return Step(
            asset=asset,
            partition=partition,
            action="reuse",
            fingerprint=fingerprint,
            reasons=tuple(reasons),
            size=self.sizes[asset, partition],
        )

    def _redone(
        self,
        stage: Stage,
        partition: str,
        spec: ArtifactSpec | None,
        reads: Sequence[Artifact],
        latest: shards.Manifest | None,
    ) -> Step:
        inputs = list(reads if spec is None else spec.inputs)
        is_pending = any(read.is_pending for read in inputs)
        step = Step(asset=stage.name, partition=partition, action="redo", reasons=("never made",))
        if latest is not None:
            changes = [] if spec is None else changed_config(latest.config, spec.config)
            changes += [] if spec is None else changed_code(latest, spec)
            input_changes = changed_inputs(latest, inputs, is_whole=spec is not None)
            step = replace(step, reasons=(*changes, *input_changes))
            num_new = self._new_shards(latest, inputs, stage.incremental_input)
            if num_new is not None and not changes and not is_pending:
                step = replace(
                    step, action="new shards", new_shards=num_new[0], all_shards=num_new[1]
                )
        if spec is not None and not is_pending:
            folder = self.lake.artifact(stage.name, partition, spec.fingerprint)
            if damaged := self._damaged(stage.name, partition, folder):
                return replace(step, action="redo", reasons=damaged)
            if done := shards.names(shards.join(folder, shards.RECORDS)):
                finished = f"{len(done)} files are there already"
                step = replace(step, action="go on", reasons=(finished, *step.reasons))
        return step

    def _damaged(self, asset: str, partition: str, folder: str) -> tuple[str, ...]:
        """What is wrong with a finished artifact or the pointer to it, each with its file."""
        if not shards.is_finished(folder):
            return ()
        urls = (
            shards.join(folder, shards.MANIFEST),
            self.lake.pointer(self.recipe.name, asset, partition),
        )
        named = [self.past.damaged[url] for url in urls if url in self.past.damaged]
        return (*named, *(f"{folder}/{text}" for text in self.past.violations(folder)))

    def _new_shards(
        self, latest: shards.Manifest, inputs: Sequence[Artifact], incremental: Stage | None
    ) -> tuple[int, int] | None:
        """How many shards of the incremental input are new; None: more than that has changed."""
        digests = {(read.asset, read.partition): read.digest for read in latest.inputs}
        changed = [
            read for read in inputs if digests.get((read.asset, read.partition)) != read.digest
        ]
        if incremental is None or any(read.asset != incremental.name for read in changed):
            return None
        before = set(self._shard_digests(latest.inputs, incremental))
        now = self._shard_digests(inputs, incremental)
        return sum(digest not in before for digest in now), len(now)

    def _shard_digests(self, inputs: Sequence[Artifact | shards.Input], stage: Stage) -> list[str]:
        return [
            sha256
            for read in inputs
            if read.asset == stage.name
            for sha256 in self.past.digests(read.asset, read.partition, read.fingerprint)
        ]

    def _pending(
        self,
        stage: Stage,
        step: Step,
        latest: shards.Manifest | None,
        num_partitions: int,
        reads: Sequence[Artifact],
        spec: ArtifactSpec | None,
    ) -> Step:
        """The step with its size and cost; who reads it will find it pending."""
        digest = spec.fingerprint if spec else self._unread_digest(stage, step.partition, reads)
        self._plan(step.asset, step.partition, PENDING, digest)
        read_size = total_size(
            self.sizes.get((read.asset, read.partition), Size()) for read in reads
        )
        if latest is None:
            text = self._text(stage, step.partition, num_partitions)
            size = estimates.first_size(
                stage, self.recipe, num_partitions=num_partitions, text=text
            )
        else:
            size = size_of(latest).times(self.past.growth(latest, read_size))
        self.sizes[step.asset, step.partition] = size
        if step.action == "fails":
            return step
        fraction = step.new_shards / step.all_shards if step.all_shards else 1.0
        cost = self.past.cost(stage, reads=read_size, makes=size, share=fraction)
        return replace(step, size=size.times(fraction), cost=cost)

    def _unread_digest(self, stage: Stage, partition: str, reads: Sequence[Artifact]) -> str:
        """Stands for an artifact whose config cannot be computed before its inputs are made."""
        values = as_json(self.recipe)
        for name in ("name", "operation", "experiments"):
            del values[name]
        return ArtifactSpec(
            asset=stage.name,
            partition=partition,
            code_version=stage.code_version,
            config=values,
            inputs=reads,
        ).fingerprint

    def _text(self, stage: Stage, partition: str, num_partitions: int) -> Size | None:
        """The text that a partition is made from, by the files of its source or of all sources."""
        if stage is raw_code_corpus:
            return self._listed_text(partition)
        corpus = {
            source: estimates.text_of_stored(raw_code_corpus, size)
            for (asset, source), size in self.sizes.items()
            if asset == raw_code_corpus.name
        }
        if partition in corpus:
            return corpus[partition]
        total = total_size(corpus.values())
        return total.times(1 / num_partitions) if total.num_bytes else None

    def _listed_text(self, partition: str) -> Size | None:
        from snow_assets.corpus.source_sizes import source_size

        corpus = self.recipe.corpus
        source = next((item for item in corpus.sources if item.name == partition), None)
        if source is None:
            return None
        try:
            listed = source_size(source, languages=self.recipe.curation.languages, recipe=corpus)
        except (OSError, ValueError, ImportError):  # the step itself says what is wrong with it
            return None
        return estimates.size_of_text(
            documents=listed.num_files, num_bytes=listed.num_bytes, recipe=self.recipe
        )

    def _plan(self, asset: str, partition: str, fingerprint: str, digest: str) -> None:
        folder = self.lake.artifact(asset, partition, fingerprint)
        self.artifacts[asset, partition] = Artifact(
            asset=asset, partition=partition, folder=folder, fingerprint=fingerprint, digest=digest
        )

    def _unfinished(
        self, asset: str, partition: str, spec: ArtifactSpec | None
    ) -> Iterator[UnfinishedArtifact]:
        for fingerprint, note in unfinished_artifacts(self.lake, asset, partition).items():
            if spec is not None and fingerprint == spec.fingerprint:
                continue
            files = readable_records(self.lake.artifact(asset, partition, fingerprint))
            differs = (
                ["an input is pending"]
                if spec is None
                else [
                    *changed_config(note.config, spec.config),
                    *changed_code(note, spec),
                    *changed_inputs(note, spec.inputs, is_whole=True),
                ]
            )
            yield UnfinishedArtifact(
                asset=asset,
                partition=partition,
                fingerprint=fingerprint,
                recipe=note.recipe,
                num_files=len(files),
                num_bytes=files.total("num_bytes"),
                started=note.started,
                reasons=tuple(differs),
            )


def changed_inputs(
    before: shards.Manifest | shards.InProgress, inputs: Sequence[Artifact], *, is_whole: bool
) -> list[str]:
    """How the inputs differ; `is_whole`: these are all, so that others are gone."""
    old = {(read.asset, read.partition): read.digest for read in before.inputs}
    new = {(read.asset, read.partition): read.digest for read in inputs}
    changes: dict[str, list[tuple[str, str]]] = {"changes": [], "is new": [], "has changed": []}
    pending = {(read.asset, read.partition) for read in inputs if read.is_pending}
    for key, digest in new.items():
        if key in pending:
            changes["changes"].append(key)
        elif key not in old:
            changes["is new"].append(key)
        elif old[key] != digest:
            changes["has changed"].append(key)
    if is_whole:
        changes["is gone"] = [key for key in old if key not in new]
    return [phrase for change, keys in changes.items() for phrase in by_asset(change, keys)]


def plan(stages: Sequence[Stage], lake: Lake, recipe: Recipe, resources: Mapping[str, Any]) -> Plan:
    """Every step of the stages, which are in the graph's order, and the tables at the end if there
    is a warehouse.

    Reads pointers, manifests and records; writes nothing. `resources` are the definitions' own.
    """
    past = Past(lake=lake, recipe=recipe)
    planner = Planner(recipe, lake, past, resources)
    steps = []
    for stage in stages:
        partitions = partition_names(stage.partitions, recipe)
        steps += [planner.step(stage, name, len(partitions)) for name in partitions]
    if "warehouse" in resources:
        steps.append(_tables(steps, planner))
    estimated, actual = past.last_estimate()
    return Plan(
        recipe=recipe.name,
        lake=lake.url,
        currency=recipe.operation.currency,
        gpu_memory_gib=recipe.operation.pretraining.gpu_memory_gib,
        steps=steps,
        unfinished=planner.unfinished,
        estimated_seconds=estimated,
        actual_seconds=actual,
    )


TABLES = "tables"
"""The plan's name of the step that publishes all tables."""


def _tables(before: Sequence[Step], planner: Planner) -> Step:
    """The published tables: built together, anew when anything that they show is."""
    step = Step(asset=TABLES, partition=UNPARTITIONED, action="redo")
    if any(item.action != "reuse" for item in before):
        return replace(step, reasons=("what they show changes",))
    warehouse = planner.resources["warehouse"]
    tables = table_sources.lake_tables(
        planner.lake.url,
        [planner.resolve(item.asset, item.partition).folder for item in before],
        recipe=planner.recipe.name,
        project=project_digest(warehouse.project),
    )
    if warehouse.published(tables.digest) is not None:
        return replace(step, action="reuse")
    return replace(step, reasons=("what is published was made from something else",))
