"""What lies in a lake: the folders of artifacts, and what the pointers of recipes name.

An artifact is at asset/partition/fingerprint, a pointer at current/recipe/asset/partition.json.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from snow_assets.storage.object_store import join, names
from snow_assets.storage.pointers import read_pointer

CURRENT = "current"
TOMBSTONES = "tombstones"
_NO_ASSETS = frozenset(
    {CURRENT, "estimates", "jobs", "labels", "recipe_comparisons", "tables", TOMBSTONES}
)


def artifact_folders(lake: str, asset: str | None = None) -> Iterator[str]:
    """The URLs of an asset's artifacts, finished or not, by partition and fingerprint; of all
    assets, in name order, if none is named."""
    assets = [name for name in names(lake) if name not in _NO_ASSETS] if asset is None else [asset]
    for name in assets:
        for partition in names(join(lake, name)):
            for fingerprint in names(join(lake, name, partition)):
                yield join(lake, name, partition, fingerprint)


@dataclass(frozen=True)
class Pointer:
    """A recipe's pointer to its current artifact of an asset and partition."""

    lake: str
    recipe: str
    asset: str
    partition: str

    @property
    def url(self) -> str:
        return join(self.lake, CURRENT, self.recipe, self.asset, f"{self.partition}.json")

    def folder(self) -> str | None:
        """The URL of the artifact; None if the pointer has gone, DamagedFileError as of
        `read_pointer`."""
        content = read_pointer(self.url)
        if content is None:
            return None
        return join(self.lake, self.asset, self.partition, content["fingerprint"])


def pointers(lake: str, recipe: str | None = None) -> Iterator[Pointer]:
    """The pointers of a recipe, or of all recipes if none is named, in name order."""
    root = join(lake, CURRENT)
    for name in names(root) if recipe is None else [recipe]:
        for asset in names(join(root, name)):
            for file in names(join(root, name, asset)):
                yield Pointer(lake, name, asset, file.removesuffix(".json"))
