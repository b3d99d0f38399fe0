"""What every asset's wiring shares: address, reuse, manifest, metadata, MLflow run, pointer.

An output's generation is the digest of its inputs' digests, the settings that it reads and an
explicit code version. Where that generation is finished, nothing is done again; the recipe's
pointer moves to it either way, and downstream assets read what the pointer names.

What Dagster and MLflow show is part of the artifact (`artifact_metadata.py`): a reused one shows
the same page, and is recorded in MLflow if a kill or an outage left it unrecorded. An artifact
with missing, truncated or damaged files is made again, and must come out with the same digest.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import dagster as dg
from pydantic import TypeAdapter

from snow_assets import integrity, shards
from snow_assets.artifact_metadata import (
    ArtifactMetadata,
    MaterializationRun,
    put_metadata,
    read_metadata,
)
from snow_assets.differences import changed_settings
from snow_assets.pointers import pointer_content, read_pointer
from snow_assets.recipe import PHASES, Recipe
from snow_assets.shards import DamagedFileError
from snow_resources.lake import Lake
from snow_resources.tracking import (
    Record,
    TrackedDataset,
    TrackedModel,
    Tracking,
    git_commit,
    materialization_record,
)

UNPARTITIONED = "all"


@dataclass(frozen=True)
class Upstream:
    """A finished generation that a recipe's pointer names."""

    asset: str
    partition: str
    folder: str
    generation: str
    digest: str

    def as_input(self) -> shards.Input:
        return shards.Input(
            asset=self.asset,
            partition=self.partition,
            generation=self.generation,
            digest=self.digest,
        )


@dataclass(frozen=True, kw_only=True)
class Made:
    """What an asset's work hands back, beside the files that it left in its folder."""

    facts: Mapping[str, Any]
    """Small and JSON, kept in the manifest; its numbers become MLflow metrics."""
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """For the Dagster page: plots (`plots.Plot`), Markdown, JSON, numbers. Kept in the artifact."""
    metrics: Sequence[Mapping[str, Any]] = ()
    """By step, for MLflow: `{"step": 10, "time": ..., "loss": 2.3}`."""
    model: TrackedModel | None = None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an asset's wiring asks for, before any work: the whole of its address."""

    asset: str
    partition: str
    code_version: str
    settings: Any  # plain JSON
    inputs: Sequence[Upstream]

    @property
    def generation(self) -> str:
        return address(self.asset, self.partition, self.code_version, self.settings, self.inputs)


PENDING = "pending"
"""Generation and digest of an upstream that is still to be made."""


@dataclass
class Planning:
    """A recipe's outputs as they will be. While it is `active`, `upstream` answers from it, and
    `materialize` only says what it wants: the wiring itself tells a plan its addresses."""

    _planned: dict[tuple[str, str], Upstream] = dataclasses.field(default_factory=dict)
    _asked: list[Upstream] = dataclasses.field(default_factory=list)
    _wanted: Wanted | None = None

    def plan(self, made: Upstream) -> None:
        self._planned[made.asset, made.partition] = made

    def ask(self, asset: str, partition: str) -> Upstream:
        if (asset, partition) not in self._planned:
            raise FileNotFoundError(f"{asset} [{partition}] is not in the plan")
        made = self._planned[asset, partition]
        self._asked.append(made)
        return made

    def partitions(self, asset: str) -> list[str]:
        return sorted(partition for name, partition in self._planned if name == asset)

    def want(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def told(self) -> tuple[Wanted | None, list[Upstream]]:
        """What was wanted and asked for since the last call."""
        told = self._wanted, list(dict.fromkeys(self._asked))
        self._wanted, self._asked = None, []
        return told

    @contextmanager
    def active(self) -> Iterator[None]:
        token = _PLANNING.set(self)
        try:
            yield
        finally:
            _PLANNING.reset(token)


# Not a resource: Dagster copies those.
_PLANNING: ContextVar[Planning | None] = ContextVar("planning", default=None)


def is_planning() -> bool:
    """Whether a plan asks an asset's wiring for its address, and nothing is materialized."""
    return _PLANNING.get() is not None


def upstream(lake: Lake, recipe: Recipe, asset: str, partition: str = UNPARTITIONED) -> Upstream:
    """What the recipe's pointer names; FileNotFoundError tells what to materialize first."""
    if planning := _PLANNING.get():
        return planning.ask(asset, partition)
    url = lake.pointer(recipe.name, asset, partition)
    pointer = read_pointer(url)
    if pointer is None:
        raise FileNotFoundError(
            f"{asset} [{partition}] was never materialized with recipe {recipe.name}: "
            f"materialize it first ({url} is missing)"
        )
    return Upstream(
        asset=asset,
        partition=partition,
        folder=lake.generation(asset, partition, pointer["generation"]),
        generation=pointer["generation"],
        digest=pointer["digest"],
    )


def source_upstreams(lake: Lake, recipe: Recipe, asset: str) -> list[Upstream]:
    """One of each source of the recipe, in name order: a source that it no longer names is left
    out, and FileNotFoundError names one that was not materialized yet."""
    names = sorted(source.name for source in recipe.corpus.sources)
    return [upstream(lake, recipe, asset, name) for name in names]


def upstreams(lake: Lake, recipe: Recipe, asset: str) -> list[Upstream]:
    """Every partition of an asset that the recipe names and has materialized, in name order.

    A pointer of a source or a language that the recipe no longer names is left out.
    """
    if planning := _PLANNING.get():
        return [planning.ask(asset, partition) for partition in planning.partitions(asset)]
    named = {
        UNPARTITIONED,
        *(source.name for source in recipe.corpus.sources),
        *recipe.curation.languages,
        *PHASES,
    }
    found = [name.removesuffix(".json") for name in shards.names(lake.pointers(recipe.name, asset))]
    return [upstream(lake, recipe, asset, name) for name in found if name in named]


def every_upstream(lake: Lake, recipe: Recipe) -> list[Upstream]:
    """Every partition of every asset that the recipe has materialized."""
    found = shards.names(lake.pointers(recipe.name, "").rstrip("/"))
    return [made for asset in found for made in upstreams(lake, recipe, asset)]


def address(
    asset: str, partition: str, code_version: str, settings: Any, inputs: Sequence[Upstream]
) -> str:
    """The generation's name: 32 hexadecimal digits of what it will be made from."""
    parts = [asset, partition, code_version, settings]
    parts += [[made.asset, made.partition, made.digest] for made in inputs]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def as_json(settings: Any) -> Any:
    """A recipe's dataclass (or a dict of such) as plain JSON."""
    return json.loads(TypeAdapter(Any).dump_json(settings))


def materialize(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: Recipe,
    *,
    code_version: str,
    settings: Any,
    inputs: Sequence[Upstream],
    work: Callable[[str], Made],
) -> dg.MaterializeResult[Any]:
    """Do `work(folder)` unless its generation is finished, and publish it under the recipe.

    `work` writes shards to the folder (through `shards`, resuming by their records) and must be
    a function of `settings` and `inputs` alone.
    """
    asset = context.asset_key.path[-1]
    partition = context.partition_key if context.has_partition_key else UNPARTITIONED
    plain = as_json(settings)
    wanted = Wanted(
        asset=asset, partition=partition, code_version=code_version, settings=plain, inputs=inputs
    )
    if planning := _PLANNING.get():
        planning.want(wanted)
        return dg.MaterializeResult()
    folder = lake.generation(asset, partition, wanted.generation)
    artifact = _reusable(context, folder)
    reused = artifact is not None
    if artifact is None:
        artifact = _worked(context, lake, recipe, wanted, folder, work)
    manifest, metadata = artifact
    record = artifact_record(folder, manifest, metadata, recipe=recipe.name)
    link = tracking.record(context.log, record)
    content = pointer_content(wanted.generation, manifest.digest, link.ids)
    shards.put(lake.pointer(recipe.name, asset, partition), content)
    tag_run(context, recipe)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.digest),
        metadata={
            **_stats_entries(manifest),
            **metadata.entries,
            **link.metadata,
            "reused": reused,
            "folder": dg.MetadataValue.path(folder),
            "generation": wanted.generation,
            "recipe": recipe.name,
            "recipe_values": dg.MetadataValue.json(as_json(recipe)),
            "settings": dg.MetadataValue.json(plain),
        },
        tags={"snow/recipe": recipe.name},
    )


Artifact = tuple[shards.Manifest, ArtifactMetadata]


def _reusable(context: dg.AssetExecutionContext, folder: str) -> Artifact | None:
    """The finished artifact; None if there is none, or if it was damaged and is cleared away."""
    if not shards.is_finished(folder):
        if wrong := integrity.unfinished_violations(folder):
            _clear(context, folder, wrong)
        return None
    try:
        manifest = shards.manifest(folder)
    except DamagedFileError as error:
        context.log.warning(f"{error}; this run does so")
        _clear(context, folder, integrity.record_violations(folder))
        return None
    wrong = integrity.violations(folder, manifest)
    if not wrong:
        try:
            return manifest, read_metadata(folder, manifest)
        except DamagedFileError as error:
            wrong = {error.url.removeprefix(f"{folder}/"): error.reason}
    _clear(context, folder, wrong)
    return None


def _clear(context: dg.AssetExecutionContext, folder: str, wrong: Mapping[str, str]) -> None:
    for name, reason in wrong.items():
        context.log.warning(f"{shards.join(folder, name)}: {reason}; it is made again")
    integrity.clear(folder, wrong)


def _worked(
    context: dg.AssetExecutionContext,
    lake: Lake,
    recipe: Recipe,
    wanted: Wanted,
    folder: str,
    work: Callable[[str], Made],
) -> Artifact:
    """Do the work, and write metadata and manifest."""
    started = time.time()
    _refuse_mixed_settings(lake, recipe, wanted)
    is_resumed = _begun(folder, recipe, wanted)
    made = work(folder)
    earlier = integrity.earlier_digest(folder)
    if earlier not in (None, shards.content_digest(shards.records(folder))):
        context.log.warning(f"{folder} differs from the damaged artifact: all of it is made anew")
        integrity.clear_all(folder)
        made = work(folder)
    finished = time.time()
    metadata_files = put_metadata(
        folder,
        entries=made.metadata,
        metrics=made.metrics,
        run=MaterializationRun(
            dagster_run_id=context.op_execution_context.run_id,
            git_commit=git_commit(),
            started=started,
            finished=finished,
            model=made.model,
        ),
    )
    manifest = shards.finish(
        folder,
        asset=wanted.asset,
        partition=wanted.partition,
        generation=wanted.generation,
        code_version=wanted.code_version,
        recipe=recipe.name,
        settings=wanted.settings,
        inputs=[given.as_input() for given in wanted.inputs],
        facts=dict(made.facts),
        finished=finished,
        seconds=None if is_resumed else finished - started,
        metadata_files=metadata_files,
    )
    if earlier not in (None, manifest.digest):
        context.log.warning(
            f"{folder} was damaged and came out with another digest ({manifest.digest[:12]}, not "
            f"{str(earlier)[:12]}): its work is not deterministic here, so what reads it is redone"
        )
    # Read back, so that a first materialization shows what every later one will.
    return manifest, read_metadata(folder, manifest)


def artifact_record(
    folder: str, manifest: shards.Manifest, metadata: ArtifactMetadata, *, recipe: str
) -> Record:
    """What MLflow keeps of an artifact, from the artifact's own files alone."""
    lake = folder.rsplit("/", 3)[0]
    run = metadata.run
    ended = manifest.finished or (run.finished if run else time.time())
    return materialization_record(
        asset=manifest.asset,
        partition=manifest.partition,
        recipe=recipe,
        code_version=manifest.code_version,
        settings=manifest.settings,
        inputs=[
            TrackedDataset(
                name=f"{made.asset}/{made.partition}",
                url=shards.join(lake, made.asset, made.partition, made.generation),
                digest=made.digest,
            )
            for made in manifest.inputs
        ],
        output=TrackedDataset(
            name=f"{manifest.asset}/{manifest.partition}", url=folder, digest=manifest.digest
        ),
        facts=manifest.facts,
        metrics=metadata.metrics,
        model=run.model if run else None,
        started=run.started if run else ended - (manifest.seconds or 0),
        ended=ended,
        dagster_run_id=run.dagster_run_id if run else "",
        git_commit=run.git_commit if run else "",
    )


def tag_run(context: dg.AssetExecutionContext, recipe: Recipe) -> None:
    """Name the recipe and its values on the run; a run that is no part of an instance has none."""
    values = json.dumps(as_json(recipe), sort_keys=True)
    digest = hashlib.sha256(values.encode()).hexdigest()[:16]
    run_id = context.op_execution_context.run_id
    if context.instance.has_run(run_id):
        tags = {"snow/recipe": recipe.name, "snow/recipe_digest": digest}
        context.instance.add_run_tags(run_id, tags)


class MixedSettingsError(ValueError):
    """Half-done work of this recipe has other numbers, and only a person can say which count."""


def half_done(lake: Lake, asset: str, partition: str) -> dict[str, shards.Begun]:
    """Generation -> what it is being made from, of those that have files and no manifest."""
    root = lake.partition(asset, partition)
    found = {}
    for generation in shards.names(root):
        folder = shards.join(root, generation)
        if shards.is_finished(folder) or not shards.names(shards.join(folder, shards.RECORDS)):
            continue
        # A damaged marker names no recipe: whoever materializes the asset writes it again.
        with suppress(DamagedFileError):
            if (note := shards.begun(folder)) is not None:
                found[generation] = note
    return found


def _refuse_mixed_settings(lake: Lake, recipe: Recipe, wanted: Wanted) -> None:
    """New data may supersede half-done work; a number that somebody changed asks for a choice."""
    for generation, note in half_done(lake, wanted.asset, wanted.partition).items():
        if note.recipe != recipe.name or note.numbers == as_json(recipe):
            continue
        if changes := changed_settings(note.settings, wanted.settings):
            folder = lake.generation(wanted.asset, wanted.partition, generation)
            files = integrity.readable_records(folder)
            size = sum(entry.num_bytes for entry in files) / 1e6
            raise MixedSettingsError(
                f"{wanted.asset} [{wanted.partition}] is half done with other numbers: "
                f"{'; '.join(changes)} ({len(files)} files, {size:,.1f} MB in {generation[:12]}). "
                "Put them back to go on with it, give the changed recipe another name to keep "
                "both, or drop it: make purge HALF_DONE=1 GO=1"
            )


def _begun(folder: str, recipe: Recipe, wanted: Wanted) -> bool:
    """Note what is begun; whether somebody had begun it already."""
    try:
        if shards.begun(folder) is not None:
            return True
    except DamagedFileError:
        pass  # written again
    note = shards.Begun(
        recipe=recipe.name,
        numbers=as_json(recipe),
        code_version=wanted.code_version,
        settings=wanted.settings,
        inputs=[given.as_input() for given in wanted.inputs],
        started=time.time(),
    )
    shards.begin(folder, note)
    return False


def check_result(
    faults: Sequence[str], severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR
) -> dg.AssetCheckResult:
    """Passed if nothing is wrong; else the first faults as the description."""
    return dg.AssetCheckResult(
        passed=not faults, severity=severity, description="; ".join(faults[:5]) or None
    )


def _stats_entries(manifest: shards.Manifest) -> dict[str, Any]:
    """Sizes and the manifest's numbers, each an entry of its own, so that Dagster plots them."""
    tables = [entry for entry in manifest.files if entry.num_rows is not None]
    entries: dict[str, Any] = {
        name: value
        for name, value in manifest.facts.items()
        if isinstance(value, bool | int | float)
    }
    entries["num_bytes"] = sum(entry.num_bytes for entry in manifest.files)
    entries["stats"] = dg.MetadataValue.json(manifest.facts)
    if tables:
        entries["dagster/row_count"] = sum(entry.num_rows or 0 for entry in tables)
        entries["num_tokens"] = sum(entry.num_tokens or 0 for entry in tables)
    return entries
