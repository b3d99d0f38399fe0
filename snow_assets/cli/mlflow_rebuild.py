"""Record all artifacts of the lake in MLflow: `make mlflow-rebuild`.

A SQLite store is replaced by a new one, and the old one is kept under another name; a server gets
its missing runs. Publications of the tables are recorded again by the next `make demo`.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from snow_assets.defs.artifact_metadata import read_metadata
from snow_assets.defs.materialize import artifact_record
from snow_assets.defs.promotion import promotion_violations
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.storage import shards
from snow_assets.storage.lake_folders import CURRENT, Pointer, artifact_folders, pointers
from snow_assets.storage.shards import DamagedFileError
from snow_resources import mlflow_store
from snow_resources.lake import Lake
from snow_resources.tracking import Record, TrackedAlias, Tracking


def rebuild(lake: str, tracking: Tracking, recipe: Recipe) -> int:
    """Record all artifacts of the lake and the waiting records; return the number of artifacts.

    Aliases stay at the models that the old store names; that of `recipe` moves to the models of its
    pointers, unless its gates hold them back. The gates of other recipes are not known here.
    """
    path = mlflow_store.store_path(tracking.uri)
    if path is None:
        return _record_all(lake, tracking, recipe, ())
    aliases = _old_aliases(lake, path, recipe)
    with mlflow_store.replace_store(path) as fresh:
        new_tracking = tracking.model_copy(update={"uri": f"sqlite:///{fresh}"})
        return _record_all(lake, new_tracking, recipe, aliases)


def _old_aliases(lake: str, path: Path, recipe: Recipe) -> list[TrackedAlias]:
    """Those of the store that is replaced; none, with the remedy on stderr, if it is unreadable."""
    from snow_resources import mlflow_runs  # its import takes seconds

    try:
        with mlflow_store.copied_store(path) as uri:
            return mlflow_runs.read_aliases(uri)
    except mlflow_runs.UNREACHABLE as error:
        names = [name for name in shards.names(shards.join(lake, CURRENT)) if name != recipe.name]
        if names:
            sys.stderr.write(
                f"The aliases of {path} cannot be read ({type(error).__name__}): those of "
                f"{', '.join(names)} are not set; `make promote` with each recipe does so\n"
            )
        return []


def _record_all(
    lake: str, tracking: Tracking, recipe: Recipe, aliases: Sequence[TrackedAlias]
) -> int:
    from snow_resources import mlflow_runs

    num_artifacts = 0
    for record in _records(lake):
        mlflow_runs.write(tracking.uri, record.without_promotion())
        num_artifacts += 1
    for alias in aliases:
        if not mlflow_runs.set_alias(tracking.uri, alias):
            sys.stderr.write(
                f"The alias {alias.recipe} of {alias.model} named {alias.folder}, which is not in "
                "the lake: it is not set\n"
            )
    waiting = tracking.write_waiting()
    if waiting.num_records:
        raise OSError(waiting.message())
    if violations := promotion_violations(Lake(url=lake), recipe):
        sys.stderr.write(f"No model of {recipe.name} is promoted: {'; '.join(violations)}\n")
    # A recipe's alias must point to the model that its pointer names, not to the newest one.
    for pointer in () if violations else pointers(lake, recipe.name):
        try:
            model = current_model(pointer, recipe)
        except DamagedFileError as error:
            sys.stderr.write(f"{error}\n")
        else:
            if model is not None:
                mlflow_runs.write(tracking.uri, model)
    for damaged in Path(tracking.spool).glob("*.damaged") if tracking.spool else ():
        damaged.unlink()  # its content was recorded from the lake
    return num_artifacts


def _records(lake: str) -> Iterator[Record]:
    """Yield the record of every artifact under its recipe, inputs before outputs."""
    manifests = [
        (manifest.finished or 0.0, folder)
        for folder in artifact_folders(lake)
        if (manifest := _manifest(folder))
    ]
    for _, folder in sorted(manifests):
        if record := _record_of(folder, recipe=None):
            yield record


def current_model(pointer: Pointer, recipe: Recipe) -> Record | None:
    """The record of the artifact that a pointer of the recipe names, if it is a model.

    DamagedFileError if the pointer is damaged.
    """
    folder = pointer.folder()
    record = None if folder is None else _record_of(folder, recipe=recipe.name)
    if record is None or record.model is None:
        return None
    return replace(record, is_gated=bool(recipe.promotion_gates))


def _record_of(folder: str, *, recipe: str | None) -> Record | None:
    """The record of a finished artifact, under a recipe or the one that made it."""
    manifest = _manifest(folder)
    if manifest is None:
        return None
    try:
        metadata = read_metadata(folder, manifest)
    except (DamagedFileError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return None
    return artifact_record(folder, manifest, metadata, recipe=recipe or manifest.recipe)


def _manifest(folder: str) -> shards.Manifest | None:
    if not shards.is_finished(folder):
        return None
    try:
        return shards.manifest(folder)
    except DamagedFileError as error:
        sys.stderr.write(f"{error}\n")
        return None


def main() -> None:
    from snow_assets import definitions

    recipe = chosen_recipe()
    resources = definitions.resources(recipe)
    started = time.monotonic()
    num_artifacts = rebuild(resources["lake"].url, resources["tracking"], recipe)
    seconds = time.monotonic() - started
    sys.stdout.write(
        f"Recorded {num_artifacts} artifacts in {resources['tracking'].uri} in {seconds:.0f} s.\n"
    )


if __name__ == "__main__":
    main()
