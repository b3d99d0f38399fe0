"""Delete what nobody needs, and every copy of an opted-out repository: `make purge`.

A dry run unless told to act. What any recipe's pointers name, what that was made from, and what a
checkpoint was made from stays. Opted-out text is stronger than a checkpoint's lineage: its data
goes at once, and a *tombstone*, the manifest with all digests, tells what was there. Scores and
checkpoints hold no text: they are reported, never deleted.
"""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from snow_assets import shards
from snow_assets.corpus import opt_outs
from snow_assets.corpus.ingested_names import TOMBSTONES
from snow_assets.graph import STAGE_BY_NAME, STAGES
from snow_assets.integrity import readable_records
from snow_assets.opt_out_traces import Trace, finished, traces
from snow_assets.pointers import read_pointer
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.stages import Stage, as_json

NO_ASSETS = frozenset({"current", "estimates", "jobs", "labels", "tables", TOMBSTONES})
_DAY_SECONDS = 86_400


@dataclass(frozen=True, kw_only=True)
class Found:
    """A generation, and why it goes or why it has to stay for now."""

    folder: str
    reason: str
    num_bytes: int

    @property
    def name(self) -> str:
        asset, partition, generation = self.folder.rsplit("/", 3)[1:]
        return f"{asset} [{partition}] {generation[:12]}"


@dataclass(frozen=True, kw_only=True)
class Purge:
    """`held` are copies of opted-out repositories that a current output still needs."""

    doomed: list[Found]
    held: list[Found]
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

    `abandoned_by`: half-done work of this recipe under other numbers goes too, however fresh.
    """
    every = [
        folder
        for asset in shards.names(lake)
        if asset not in NO_ASSETS
        for folder in finished(lake, asset)
    ]
    inputs = {folder: _input_folders(lake, shards.manifest(folder).inputs) for folder in every}
    current = _current(lake)
    half_done = _half_done(lake, known=set(every))
    running = {
        folder: _input_folders(lake, note.inputs)
        for folder, note in half_done.items()
        if note is not None
    }
    found = traces(lake, opted_out, STAGES)
    tainted = _descendants(
        {_folder(lake, one) for one in found if one.num_rows and not _is_kept(_folder(lake, one))},
        inputs,
    )
    damaged = {_folder(lake, one) for one in found if one.damage}
    outputs = {folder for folder in current if not _is_costly(folder)}
    needed_now = _ancestors(outputs, inputs)
    needed = _ancestors(
        {
            *current,
            *(folder for folder in every if _is_checkpoint(folder)),
            *(given for folders in running.values() for given in folders),
        },
        inputs,
    )
    doomed, held = [], []
    limit = now - retention_days * _DAY_SECONDS
    for folder in every:
        size = sum(entry.num_bytes for entry in shards.manifest(folder).files)
        if folder in tainted and not _is_kept(folder):
            if holder := needed_now.get(folder):
                told = f"opted out, and current {_short(holder)} needs it"
                held.append(Found(folder=folder, reason=told, num_bytes=size))
            else:
                doomed.append(Found(folder=folder, reason="opted out", num_bytes=size))
        elif folder in damaged and not _is_kept(folder):
            if holder := needed_now.get(folder):
                reason = f"damaged, and current {_short(holder)} needs it"
                held.append(Found(folder=folder, reason=reason, num_bytes=size))
            else:
                reason = "damaged: what opted out may stand in it"
                doomed.append(Found(folder=folder, reason=reason, num_bytes=size))
        elif (
            folder not in needed
            and not _keeps_history(folder)
            and shards.modified(shards.join(folder, shards.MANIFEST)) < limit
        ):
            doomed.append(Found(folder=folder, reason="unreferenced", num_bytes=size))
    for folder, note in half_done.items():
        touched = max(shards.modified(url) for url in _noted(folder))
        is_abandoned = (
            abandoned_by is not None
            and note is not None
            and note.recipe == abandoned_by.name
            and note.numbers != as_json(abandoned_by)
        )
        if touched < limit or is_abandoned:
            size = sum(entry.num_bytes for entry in readable_records(folder))
            began = "" if note is None else f" by {note.recipe}"
            told = f"half done{began}, untouched for {(now - touched) / _DAY_SECONDS:.0f} days"
            doomed.append(Found(folder=folder, reason=told, num_bytes=size))
    # What was made of another goes first: a purge that is killed leaves no orphan unfound.
    doomed.sort(key=lambda one: -len(_ancestors({one.folder}, inputs)))
    kept = [one for one in found if one.num_rows and _is_kept(_folder(lake, one))]
    return Purge(doomed=doomed, held=held, reported=kept)


def act(lake: str, purge: Purge, *, now: float) -> None:
    """Delete what is doomed. A tombstone is written first, and the manifest goes before the
    files: a purge that is killed leaves nothing that looks finished, and is run again."""
    for one in purge.doomed:
        url = shards.join(one.folder, shards.MANIFEST)
        told: dict[str, Any] = {"reason": one.reason, "purged": now}
        if shards.exists(url):
            told["manifest"] = asdict(shards.manifest(one.folder))
        else:
            told["files"] = [asdict(entry) for entry in readable_records(one.folder)]
        asset, partition, generation = one.folder.rsplit("/", 3)[1:]
        tombstone = shards.join(lake, TOMBSTONES, asset, partition, f"{generation}.json")
        if not shards.exists(tombstone):
            shards.put(tombstone, json.dumps(told, indent=1, default=str).encode())
        shards.remove(url)
        shards.remove(one.folder)


def show(console: Console, purge: Purge, *, is_done: bool) -> None:
    """What goes, what is held and by whom, and what is only reported."""
    verb = "Deleted" if is_done else "Would delete"
    total = sum(one.num_bytes for one in purge.doomed)
    for one in purge.doomed:
        console.print(f"  {one.name}  {one.num_bytes / 1e6:,.1f} MB  {one.reason}", markup=False)
    console.print(f"{verb} {len(purge.doomed)} generations, {total / 1e6:,.1f} MB.")
    for one in purge.held:
        console.print(f"  held: {one.name}  {one.reason}", markup=False)
    if purge.held:
        console.print("Materialize what holds them anew, and purge again.")
    for trace in purge.reported:
        console.print(
            f"  remains: {trace.asset} [{trace.partition}] {trace.generation[:12]} saw "
            f"{trace.num_rows:,} opted-out documents, {trace.num_tokens:,} tokens",
            markup=False,
        )
    if not is_done and purge.doomed:
        console.print("Nothing was deleted: `make purge GO=1` deletes.")


def _input_folders(lake: str, inputs: Sequence[shards.Input]) -> list[str]:
    return [shards.join(lake, one.asset, one.partition, one.generation) for one in inputs]


def _current(lake: str) -> set[str]:
    """What the pointers of all recipes name."""
    root = shards.join(lake, "current")
    found = set()
    for recipe in shards.names(root):
        for asset in shards.names(shards.join(root, recipe)):
            for name in shards.names(shards.join(root, recipe, asset)):
                # A damaged one ends the purge: nobody knows what it keeps.
                pointer = read_pointer(shards.join(root, recipe, asset, name))
                if pointer is None:
                    continue
                partition = name.removesuffix(".json")
                found.add(shards.join(lake, asset, partition, pointer["generation"]))
    return found


def _half_done(lake: str, *, known: set[str]) -> dict[str, shards.Begun | None]:
    found: dict[str, shards.Begun | None] = {}
    for asset in shards.names(lake):
        if asset in NO_ASSETS:
            continue
        for partition in shards.names(shards.join(lake, asset)):
            for generation in shards.names(shards.join(lake, asset, partition)):
                folder = shards.join(lake, asset, partition, generation)
                if folder not in known and _noted(folder):
                    found[folder] = _marker(folder)
    return found


def _marker(folder: str) -> shards.Begun | None:
    """The in-progress marker; one that is damaged names no recipe, like one that is missing."""
    try:
        return shards.begun(folder)
    except shards.DamagedFileError:
        return None


def _noted(folder: str) -> list[str]:
    """The small files whose dates say when a folder was last worked on."""
    records = shards.join(folder, "records")
    found = [shards.join(records, name) for name in shards.names(records)]
    note = shards.join(folder, "begun.json")
    return [*found, note] if shards.exists(note) else found


def _ancestors(first: Iterable[str], inputs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Each generation that the first were made from, themselves included -> one that needs it."""
    holders = {folder: folder for folder in first}
    waiting = list(holders)
    while waiting:
        folder = waiting.pop()
        for given in inputs.get(folder, ()):
            if given not in holders:
                holders[given] = holders[folder]
                waiting.append(given)
    return holders


def _descendants(first: set[str], inputs: Mapping[str, Sequence[str]]) -> set[str]:
    found, before = set(first), 0
    while len(found) != before:
        before = len(found)
        found |= {made for made, given in inputs.items() if found.intersection(given)}
    return found


def _asset(folder: str) -> str:
    return folder.rsplit("/", 3)[1]


def _short(folder: str) -> str:
    asset, partition, _ = folder.rsplit("/", 3)[1:]
    return asset if partition == "all" else f"{asset} [{partition}]"


def _stage(folder: str) -> Stage | None:
    """The stage that wrote a folder; None of one that the graph has no longer."""
    return STAGE_BY_NAME.get(_asset(folder))


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


def _folder(lake: str, one: Trace) -> str:
    return shards.join(lake, one.asset, one.partition, one.generation)


def main(arguments: Sequence[str]) -> None:
    """A dry run; with `go` it deletes; with `half-done`, what was begun with other numbers too."""
    from snow_assets import definitions

    recipe = chosen_recipe()
    lake = definitions.resources(recipe)["lake"].url
    now = time.time()
    url = opt_outs.list_url(recipe.corpus.opt_out_list, lake=lake)
    try:
        purge = find(
            lake,
            opted_out=opt_outs.read_list(url),
            abandoned_by=recipe if "half-done" in arguments else None,
            retention_days=recipe.operation.retention_days,
            now=now,
        )
    except shards.DamagedFileError as error:
        sys.exit(f"Nothing is deleted while it is unknown what is needed: {error}")
    is_done = "go" in arguments
    if is_done:
        act(lake, purge, now=now)
    show(Console(highlight=False), purge, is_done=is_done)


if __name__ == "__main__":
    main(sys.argv[1:])
