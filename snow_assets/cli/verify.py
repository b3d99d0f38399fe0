"""Compare everything that is live in the lake with what was written: `make verify`.

Live is what the pointers of all recipes name, and work in progress; with ALL=1, every artifact.
What is damaged is marked, so that the next materialization makes it again.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console

from snow_assets.storage import integrity, shards
from snow_assets.storage.lake_folders import artifact_folders, pointers
from snow_assets.storage.shards import DamagedFileError


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A file that is not what was written, and what makes it again."""

    url: str
    reason: str
    remedy: str


_NOT_CURRENT = (
    "no pointer names it: `make purge GO=1` deletes it once nothing needs it and the recipe's "
    "retention_days are over"
)


@dataclass
class Verification:
    """What was compared, and what is damaged."""

    num_artifacts: int = 0
    num_files: int = 0
    num_bytes: int = 0
    damages: list[Damage] = field(default_factory=list)

    def add(self, error: DamagedFileError) -> None:
        self.damages.append(Damage(url=error.url, reason=error.reason, remedy=error.remedy))


def verify(lake: str, *, everything: bool = False) -> Verification:
    """Read every live file once. Memory: 1 MiB and the manifests of one artifact at a time."""
    result = Verification()
    current = list(_current(lake, result))
    folders = dict.fromkeys(current)
    for folder in artifact_folders(lake):
        if not shards.is_finished(folder):
            _verify_unfinished(folder, result)
        elif everything:
            folders[folder] = None
    for folder in folders:
        num_damages = len(result.damages)
        _verify_artifact(folder, result)
        if folder not in current:
            result.damages[num_damages:] = [
                replace(damage, remedy=_NOT_CURRENT) for damage in result.damages[num_damages:]
            ]
    return result


def _current(lake: str, result: Verification) -> Iterator[str]:
    """The artifacts that pointers name."""
    for pointer in pointers(lake):
        try:
            folder = pointer.folder()
        except DamagedFileError as error:
            result.add(error)
        else:
            if folder is not None:
                yield folder


def _verify_artifact(folder: str, result: Verification) -> None:
    result.num_artifacts += 1
    try:
        manifest = shards.manifest(folder)
    except FileNotFoundError:
        url = shards.join(folder, shards.MANIFEST)
        result.add(DamagedFileError(url, "it is missing", shards.remedy(folder)))
        return
    except DamagedFileError as error:
        result.add(error)
        return
    for entry in (*manifest.files, *manifest.metadata_files):
        result.num_files += 1
        result.num_bytes += entry.num_bytes
        for name, reason in integrity.digest_violation(folder, entry).items():
            shards.mark_damaged(folder, name)
            result.add(DamagedFileError(shards.join(folder, name), reason, shards.remedy(folder)))


def _verify_unfinished(folder: str, result: Verification) -> None:
    """The in-progress marker, and the files that work will go on from."""
    try:
        shards.in_progress(folder)
    except DamagedFileError as error:
        result.add(error)
    for name, reason in integrity.record_violations(folder).items():
        result.add(DamagedFileError(shards.join(folder, name), reason, shards.remedy(folder)))


def show(console: Console, result: Verification) -> None:
    """Each damaged file, and what to do, at the end."""
    for damage in result.damages:
        console.print(f"{damage.url}: {damage.reason}", markup=False, soft_wrap=True)
    console.print(
        f"Compared {result.num_files:,} files of {result.num_artifacts:,} artifacts, "
        f"{result.num_bytes / 1e6:,.1f} MB: {len(result.damages)} damaged."
    )
    for remedy in dict.fromkeys(damage.remedy for damage in result.damages):
        console.print(f"  {remedy}", markup=False)
    if result.damages:
        console.print("`make demo` does all of this for its recipe; nothing else is made again.")


def main(arguments: Sequence[str]) -> None:
    """Exit code 1 if anything is damaged."""
    from snow_assets import definitions
    from snow_assets.recipe import chosen_recipe

    lake = definitions.resources(chosen_recipe())["lake"].url
    result = verify(lake, everything="all" in arguments)
    show(Console(highlight=False), result)
    sys.exit(1 if result.damages else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
