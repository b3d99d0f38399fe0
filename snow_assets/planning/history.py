"""What the lake remembers of an asset: its latest artifact, and how long its work took."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from snow_assets.planning import estimates
from snow_assets.planning.estimates import Cost
from snow_assets.recipe import Recipe
from snow_assets.stages import ArtifactSpec, Stage
from snow_assets.storage import shards
from snow_assets.storage.checked_json import DamagedFileError
from snow_assets.storage.differences import changed_code, changed_config
from snow_assets.storage.integrity import violations
from snow_assets.storage.pointers import read_pointer
from snow_assets.storage.sizes import Size, size_of, total_size
from snow_resources.lake import Lake


@dataclass
class Past:
    """Reads each manifest once. Memory: those of the assets that a plan names."""

    lake: Lake
    recipe: Recipe
    damaged: dict[str, str] = field(default_factory=dict)
    """File -> what is wrong with it and the remedy, of pointers and manifests read so far."""
    _manifests: dict[str, shards.Manifest | None] = field(default_factory=dict)

    def manifest(self, folder: str) -> shards.Manifest | None:
        """The manifest; None if the artifact is not finished, or is damaged (see `damaged`)."""
        if folder not in self._manifests:
            self._manifests[folder] = self._read(folder)
        return self._manifests[folder]

    def _read(self, folder: str) -> shards.Manifest | None:
        if not shards.is_finished(folder):
            return None
        try:
            return shards.manifest(folder)
        except DamagedFileError as error:
            self.damaged[shards.join(folder, shards.MANIFEST)] = str(error)
            return None

    def violations(self, folder: str) -> list[str]:
        """What is wrong with the files of an artifact, by their existence and size."""
        manifest = self.manifest(folder)
        if manifest is None:
            return []
        return [f"{name}: {reason}" for name, reason in violations(folder, manifest).items()]

    def digests(self, asset: str, partition: str, fingerprint: str) -> Iterator[str]:
        """The SHA-256 of each file of an artifact; none if it is not finished."""
        manifest = self.manifest(self.lake.artifact(asset, partition, fingerprint))
        if manifest is not None:
            yield from (sha256 for _, sha256 in manifest.files.digests())

    def finished(self, asset: str, partition: str) -> list[shards.Manifest]:
        root = self.lake.partition(asset, partition)
        manifests = [self.manifest(shards.join(root, name)) for name in shards.names(root)]
        return [manifest for manifest in manifests if manifest is not None]

    def current(self, asset: str, partition: str) -> shards.Manifest | None:
        url = self.lake.pointer(self.recipe.name, asset, partition)
        try:
            pointer = read_pointer(url)
        except DamagedFileError as error:
            self.damaged[url] = str(error)
            return None
        if pointer is None:
            return None
        return self.manifest(self.lake.artifact(asset, partition, pointer["fingerprint"]))

    def latest(
        self, asset: str, partition: str, spec: ArtifactSpec | None
    ) -> shards.Manifest | None:
        """The recipe's current artifact; else the one most like what the spec describes."""
        if current := self.current(asset, partition):
            return current
        manifests = self.finished(asset, partition)
        if spec is None:
            return max(
                manifests, key=lambda item: (item.finished or 0, item.fingerprint), default=None
            )
        return min(
            manifests, key=lambda item: (_distance(item, spec), item.fingerprint), default=None
        )

    def growth(self, latest: shards.Manifest, reads: Size) -> float:
        """How many times what `latest` read is read now."""
        before = self._reads(latest)
        return reads.num_bytes / before.num_bytes if before and before.num_bytes else 1.0

    def seconds(self, stage: Stage, reads: Size) -> float | None:
        """What the work takes at the pace of finished runs, this recipe's if there are any.

        Of another recipe's runs nothing follows for a job on GPUs: they may have had none.
        """
        root = self.lake.partition(stage.name, "").rstrip("/")
        manifests = [
            manifest for name in shards.names(root) for manifest in self.finished(stage.name, name)
        ]
        own = [manifest for manifest in manifests if manifest.recipe == self.recipe.name]
        measured = own if own or stage.cost.gpus(self.recipe) else manifests
        seconds = units = 0.0
        for manifest in measured:
            if manifest.seconds is not None and (amount := self._units(stage, manifest)):
                seconds, units = seconds + manifest.seconds, units + amount
        if not units:
            return None
        tokens = estimates.model_tokens(stage, self.recipe)
        return seconds / units * (reads.num_bytes or 1 if tokens is None else tokens)

    def cost(self, stage: Stage, *, reads: Size, makes: Size, share: float = 1.0) -> Cost:
        """Of a share of the work: at the pace of finished runs, else by the recipe's rates."""
        seconds = self.seconds(stage, reads)
        is_measured = seconds is not None
        if seconds is None:
            seconds = estimates.stated_seconds(stage, self.recipe, makes)
        return estimates.cost(stage, self.recipe, seconds * share, is_measured=is_measured)

    def _units(self, stage: Stage, manifest: shards.Manifest) -> float | None:
        """How much work an artifact was; None: it cannot be known."""
        if stage.cost.past_model_tokens is not None:
            return stage.cost.past_model_tokens(manifest.config)
        reads = self._reads(manifest)
        if reads is None:
            return None
        stats: Mapping[str, Any] = manifest.stats
        if "num_scored" in stats and "num_texts" in stats:
            share: float = stats["num_scored"] / max(1, stats["num_texts"])
            return reads.num_bytes * share
        return reads.num_bytes or 1.0

    def _reads(self, manifest: shards.Manifest) -> Size | None:
        inputs = [
            self.manifest(self.lake.artifact(read.asset, read.partition, read.fingerprint))
            for read in manifest.inputs
        ]
        if any(item is None for item in inputs):
            return None
        return total_size(size_of(item) for item in inputs if item is not None)

    def last_estimate(self) -> tuple[float, float]:
        """Seconds that the last plan estimated and that were measured, of steps done since."""
        estimated = measured = 0.0
        for key, estimate in self._estimates().items():
            manifest = self.current(*key.split("/"))
            if manifest is None or manifest.seconds is None:
                continue
            if (manifest.finished or 0) > estimate["at"]:
                estimated, measured = estimated + estimate["seconds"], measured + manifest.seconds
        return estimated, measured

    def _estimates(self) -> dict[str, Any]:
        url = self.lake.estimates(self.recipe.name)
        if not shards.exists(url):
            return {}
        try:
            estimated: dict[str, Any] = json.loads(shards.get(url))
        except ValueError:
            return {}  # only the last plan's; the next one writes it again
        return estimated

    def keep_estimates(self, seconds: Mapping[str, float], *, now: float) -> None:
        """Remember what was estimated (`asset/partition` -> seconds), for the next plan."""
        fresh = {key: {"seconds": value, "at": now} for key, value in seconds.items()}
        content = json.dumps({**self._estimates(), **fresh}, indent=1, sort_keys=True)
        shards.put(self.lake.estimates(self.recipe.name), content.encode())


def _distance(manifest: shards.Manifest, spec: ArtifactSpec) -> int:
    """In how many config, code versions and inputs the two differ."""
    before = {(read.asset, read.partition, read.digest) for read in manifest.inputs}
    now = {(read.asset, read.partition, read.digest) for read in spec.inputs}
    return (
        len(changed_config(manifest.config, spec.config))
        + len(changed_code(manifest, spec))
        + len(before ^ now)
    )
