"""Delete artifacts that are not needed, and all copies of opted-out repositories: `make purge`.

A dry run by default. What any recipe's pointers name, what that was made from, and what a
checkpoint was made from is kept. An opt-out outweighs a checkpoint's lineage: its data is deleted
at once, and a *tombstone*, the manifest with all digests, records what was there. What a current
comparison of an experiment rests on is kept likewise, unless it opted out. Scores and checkpoints
hold no text: they are reported, never deleted.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from snow_assets.defs.experiments import experiment_comparisons
from snow_assets.defs.graph import stage_of, stages_in
from snow_assets.planning.opt_out_traces import Trace, traces
from snow_assets.recipe import Recipe
from snow_assets.stages import Stage, as_json
from snow_assets.storage import shards
from snow_assets.storage.integrity import readable_records, reopen_jobs
from snow_assets.storage.lake_folders import TOMBSTONES, artifact_folders, pointers

_DAY_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An artifact, and the reason why it is deleted, or why it must be kept for now."""

    folder: str
    reason: str
    num_bytes: int

    @property
    def name(self) -> str:
        asset, partition, fingerprint = self.folder.rsplit("/", 3)[1:]
        return f"{asset} [{partition}] {fingerprint[:12]}"


@dataclass(frozen=True, kw_only=True)
class Purge:
    """`held` are copies of opted-out repositories that a current output still needs."""

    deletions: list[Candidate]
    held: list[Candidate]
    reported: list[Trace]


def find(
    lake: str,
    *,
    opted_out: Iterable[str],
    retention_days: float,
    now: float,
    abandoned_by: Recipe | None = None,
) -> Purge:
    """What a purge would do. Reads pointers, manifests, and the columns that name repositories.

    `abandoned_by`: unfinished work of this recipe under another config goes too, however fresh.
    """
    folders = list(artifact_folders(lake))
    artifacts = [folder for folder in folders if shards.is_finished(folder)]
    inputs = {folder: _input_folders(lake, shards.manifest(folder).inputs) for folder in artifacts}
    unfinished = _unfinished(set(folders).difference(artifacts))
    trace_list = traces(lake, opted_out, stages_in(lake))
    needs = _Needs.of(lake, inputs, unfinished)
    copies = {_folder(lake, trace) for trace in trace_list if trace.num_rows}
    reasons = {_folder(lake, trace): _DAMAGED for trace in trace_list if trace.damage}
    reasons |= dict.fromkeys(
        _descendants({folder for folder in copies if not _is_kept(folder)}, inputs), _OPTED_OUT
    )
    deletions, held = [], []
    limit = now - retention_days * _DAY_SECONDS
    for folder in artifacts:
        reason = None if _is_kept(folder) else reasons.get(folder)
        if reason is not None and (holder := needs.by_current.get(folder)):
            state = reason.partition(":")[0]
            held.append(_candidate(folder, f"{state}, and current {_short(holder)} needs it"))
        elif reason is not None:
            deletions.append(
                _candidate(folder, reason + _rested_on(needs.by_comparisons.get(folder)))
            )
        elif (
            folder not in needs.by_any
            and not _keeps_history(folder)
            and shards.modified(shards.join(folder, shards.MANIFEST)) < limit
        ):
            deletions.append(_candidate(folder, "unreferenced"))
    deletions += _abandoned(unfinished, now=now, limit=limit, recipe=abandoned_by)
    # Descendants are deleted first: a purge that is killed leaves no orphan untraced.
    deletions.sort(key=lambda item: -len(_ancestors({item.folder}, inputs)))
    reported = [trace for trace in trace_list if trace.num_rows and _is_kept(_folder(lake, trace))]
    return Purge(deletions=deletions, held=held, reported=reported)


_OPTED_OUT = "opted out"
_DAMAGED = "damaged: what opted out may stand in it"


@dataclass(frozen=True)
class _Needs:
    """Artifact -> one that needs it."""

    by_current: Mapping[str, str]  # current outputs that can be made anew unasked
    by_any: Mapping[str, str]  # current ones, checkpoints, and work in progress
    by_comparisons: Mapping[str, str]  # current comparisons of experiments

    @classmethod
    def of(
        cls,
        lake: str,
        inputs: Mapping[str, Sequence[str]],
        unfinished: Mapping[str, shards.InProgress | None],
    ) -> "_Needs":
        current = _current(lake)
        running = {
            folder
            for note in unfinished.values()
            if note is not None
            for folder in _input_folders(lake, note.inputs)
        }
        checkpoints = {folder for folder in inputs if _is_checkpoint(folder)}
        return cls(
            by_current=_ancestors({folder for folder in current if not _is_costly(folder)}, inputs),
            by_any=_ancestors(current | checkpoints | running, inputs),
            by_comparisons=_ancestors(
                {folder for folder in current if _asset(folder) == experiment_comparisons.name},
                inputs,
            ),
        )


def _rested_on(comparison: str | None) -> str:
    return f"; current {_short(comparison)} rested on it" if comparison else ""


def _candidate(folder: str, reason: str) -> Candidate:
    size = shards.manifest(folder).files.total("num_bytes")
    return Candidate(folder=folder, reason=reason, num_bytes=size)


def _abandoned(
    unfinished: Mapping[str, shards.InProgress | None],
    *,
    now: float,
    limit: float,
    recipe: Recipe | None,
) -> Iterator[Candidate]:
    """Unfinished artifacts that were not touched since the limit, or that the recipe dropped."""
    for folder, note in unfinished.items():
        touched = max(shards.modified(url) for url in _noted(folder))
        is_dropped = (
            recipe is not None
            and note is not None
            and note.recipe == recipe.name
            and note.recipe_values != as_json(recipe)
        )
        if touched < limit or is_dropped:
            size = readable_records(folder).total("num_bytes")
            author = "" if note is None else f" by {note.recipe}"
            days = (now - touched) / _DAY_SECONDS
            reason = f"unfinished{author}, untouched for {days:.0f} days"
            yield Candidate(folder=folder, reason=reason, num_bytes=size)


def act(lake: str, purge: Purge, *, now: float) -> None:
    """Delete artifacts. A tombstone is written first, and the manifest is deleted before the
    files: a purge that is killed leaves nothing that looks finished, and is run again. Jobs that
    wrote them run again where a recipe wants the artifact back."""
    reopen_jobs(lake, {item.folder for item in purge.deletions})
    for item in purge.deletions:
        url = shards.join(item.folder, shards.MANIFEST)
        content: dict[str, Any] = {"reason": item.reason, "purged": now}
        if shards.exists(url):
            manifest = shards.manifest(item.folder)
            files = [asdict(entry) for entry in manifest.files]
            content["manifest"] = {**asdict(manifest), "files": files}
        else:
            content["files"] = [asdict(entry) for entry in readable_records(item.folder)]
        asset, partition, fingerprint = item.folder.rsplit("/", 3)[1:]
        tombstone = shards.join(lake, TOMBSTONES, asset, partition, f"{fingerprint}.json")
        if not shards.exists(tombstone):
            shards.put(tombstone, json.dumps(content, indent=1, default=str).encode())
        shards.remove(url)
        shards.remove(item.folder)


def _input_folders(lake: str, inputs: Sequence[shards.Input]) -> list[str]:
    return [shards.join(lake, read.asset, read.partition, read.fingerprint) for read in inputs]


def _current(lake: str) -> set[str]:
    """What the pointers of all recipes name; a damaged one ends the purge: it is unknown what it
    keeps."""
    return {folder for pointer in pointers(lake) if (folder := pointer.folder()) is not None}


def _unfinished(folders: set[str]) -> dict[str, shards.InProgress | None]:
    """The in-progress markers of those folders without a manifest that hold work."""
    return {folder: _marker(folder) for folder in sorted(folders) if _noted(folder)}


def _marker(folder: str) -> shards.InProgress | None:
    """The in-progress marker; one that is damaged names no recipe, like one that is missing."""
    try:
        return shards.in_progress(folder)
    except shards.DamagedFileError:
        return None


def _noted(folder: str) -> list[str]:
    """The small files whose dates say when a folder was last worked on."""
    records = shards.join(folder, "records")
    urls = [shards.join(records, name) for name in shards.names(records)]
    note = shards.join(folder, "in_progress.json")
    return [*urls, note] if shards.exists(note) else urls


def _ancestors(first: Iterable[str], inputs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Each artifact that the first were made from, themselves included -> one that needs it."""
    holders = {folder: folder for folder in first}
    queue = list(holders)
    while queue:
        folder = queue.pop()
        for parent in inputs.get(folder, ()):
            if parent not in holders:
                holders[parent] = holders[folder]
                queue.append(parent)
    return holders


def _descendants(first: set[str], inputs: Mapping[str, Sequence[str]]) -> set[str]:
    """All artifacts that were made from the first, themselves included."""
    descendants, num_before = set(first), 0
    while len(descendants) != num_before:
        num_before = len(descendants)
        descendants |= {
            folder for folder, parents in inputs.items() if descendants.intersection(parents)
        }
    return descendants


def _asset(folder: str) -> str:
    return folder.rsplit("/", 3)[1]


def _short(folder: str) -> str:
    asset, partition, _ = folder.rsplit("/", 3)[1:]
    return asset if partition == "all" else f"{asset} [{partition}]"


def _stage(folder: str) -> Stage | None:
    """The stage that wrote a folder; None of one that the graph has no longer."""
    return stage_of(_asset(folder))


def _is_checkpoint(folder: str) -> bool:
    stage = _stage(folder)
    return stage is not None and stage.is_checkpoint


def _keeps_history(folder: str) -> bool:
    stage = _stage(folder)
    return stage is not None and stage.keeps_history


def _is_kept(folder: str) -> bool:
    """Whether a repository may have shaped it and it is no copy of one."""
    stage = _stage(folder)
    return stage is not None and not stage.holds_text


def _is_costly(folder: str) -> bool:
    """Whether a new opt-out is only reported of it, since retraining is asked for by a person."""
    stage = _stage(folder)
    return stage is not None and stage.is_retrained_by_hand


def _folder(lake: str, trace: Trace) -> str:
    return shards.join(lake, trace.asset, trace.partition, trace.fingerprint)
