"""Unfinished artifacts: markers of work in progress, and the refusal of a second config."""

import time
from contextlib import suppress

from snow_assets.recipe import Recipe
from snow_assets.stages import ArtifactSpec, as_json
from snow_assets.storage import integrity, shards
from snow_assets.storage.differences import changed_config
from snow_assets.storage.shards import DamagedFileError
from snow_resources.lake import Lake


class MixedConfigError(ValueError):
    """Unfinished work of this recipe was begun with another config; a person has to choose one."""


def unfinished_artifacts(lake: Lake, asset: str, partition: str) -> dict[str, shards.InProgress]:
    """Fingerprint -> in-progress marker, of artifacts that have files and no manifest."""
    root = lake.partition(asset, partition)
    markers = {}
    for fingerprint in shards.names(root):
        folder = shards.join(root, fingerprint)
        if shards.is_finished(folder) or not shards.names(shards.join(folder, shards.RECORDS)):
            continue
        # A damaged marker names no recipe: the next materialization writes it again.
        with suppress(DamagedFileError):
            if (marker := shards.in_progress(folder)) is not None:
                markers[fingerprint] = marker
    return markers


def refuse_mixed_config(lake: Lake, recipe: Recipe, spec: ArtifactSpec) -> None:
    """New data may supersede unfinished work; a changed config requires a choice by a person."""
    for fingerprint, marker in unfinished_artifacts(lake, spec.asset, spec.partition).items():
        if marker.recipe != recipe.name or marker.recipe_values == as_json(recipe):
            continue
        if changes := changed_config(marker.config, spec.config):
            folder = lake.artifact(spec.asset, spec.partition, fingerprint)
            files = integrity.readable_records(folder)
            size = files.total("num_bytes") / 1e6
            raise MixedConfigError(
                f"{spec.asset} [{spec.partition}] is unfinished with another config: "
                f"{'; '.join(changes)} ({len(files)} files, {size:,.1f} MB in {fingerprint[:12]}). "
                "Put them back to go on with it, give the changed recipe another name to keep "
                "both, or drop it: make purge UNFINISHED=1 GO=1"
            )


def mark_in_progress(folder: str, recipe: Recipe, spec: ArtifactSpec) -> bool:
    """Write the in-progress marker; return whether the artifact had one already."""
    try:
        if shards.in_progress(folder) is not None:
            return True
    except DamagedFileError:
        pass  # written again
    marker = shards.InProgress(
        recipe=recipe.name,
        recipe_values=as_json(recipe),
        code_version=spec.code_version,
        config=spec.config,
        inputs=[artifact.as_input() for artifact in spec.inputs],
        started=time.time(),
    )
    shards.mark_in_progress(folder, marker)
    return False
