"""Estimate of a source's text size from listings alone: nothing is opened or unpacked."""

import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from snow_assets.corpus import archives, tables
from snow_assets.corpus.distributions import STDLIB, stdlib_files
from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.locations import list_files
from snow_assets.corpus.source_trees import NOT_SOURCE
from snow_assets.recipe import CorpusRecipe, Source

UNPACKED_RATIOS = (
    (".parquet", 4.0),
    (".jsonl.gz", 4.0),
    (".jsonl", 1.0),
    (".tar", 1.0),
    (".zip", 3.5),
    (".whl", 3.0),
    (".tar.xz", 5.5),
    (".txz", 5.5),
)
"""Approximate bytes of text per stored byte: deflate and zstd compress code to a quarter."""
_OTHER_RATIO = 4.0  # .tar.gz, .tgz, .tar.bz2
_MEAN_FILE_BYTES = 5_000  # of code; for documents where files are not listed one by one


@dataclass(frozen=True, kw_only=True)
class SourceSize:
    """Files and bytes of text of the recipe's languages in a source."""

    num_files: float
    num_bytes: float


def source_size(source: Source, *, languages: Sequence[str], recipe: CorpusRecipe) -> SourceSize:
    """Estimate the size from names and stored sizes, regardless of licences and contents.

    Local files are listed singly, with the source's sampling of each repository. Archives and
    tables count by their stored sizes. Raises OSError or ValueError if a location cannot be listed.
    """
    match source.kind:
        case "distributions":
            files = _distribution_files(source.locations)
        case "folder":
            files = _folder_files(source.locations)
        case "archives" | "stack_v3" | "rows":
            suffixes = archives.SUFFIXES if source.kind == "archives" else tables.SUFFIXES
            stored = list_files(source.locations, suffixes)
            num_bytes = sum(file.num_bytes * _ratio(file.url) for file in stored)
            return SourceSize(num_files=num_bytes / _MEAN_FILE_BYTES, num_bytes=num_bytes)
    sizes: dict[tuple[str, str], list[int]] = {}
    for repository, path, num_bytes in files:
        names = candidates(path, languages)
        if names and num_bytes <= recipe.max_file_bytes:
            sizes.setdefault((repository, names[0]), []).append(num_bytes)
    limit = source.files_per_repository
    counts = {key: min(len(group), limit or len(group)) for key, group in sizes.items()}
    return SourceSize(
        num_files=sum(counts.values()),
        num_bytes=sum(sum(group) * counts[key] / len(group) for key, group in sizes.items()),
    )


def _ratio(url: str) -> float:
    name = url.lower()
    return next((ratio for suffix, ratio in UNPACKED_RATIOS if name.endswith(suffix)), _OTHER_RATIO)


def _distribution_files(locations: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    for location in locations:
        name, _, folder = location.partition(":")
        if name == STDLIB:
            for path, local in stdlib_files():
                if not folder or path.startswith(f"{folder}/"):
                    yield name, path, local.stat().st_size
            continue
        for entry in importlib.metadata.files(name) or ():
            path = entry.as_posix()
            if not folder or path.startswith(f"{folder}/"):
                yield name, path, entry.size or 0


def _folder_files(locations: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    for location in locations:
        for folder, inner, names in os.walk(location, followlinks=False):
            inner[:] = [name for name in inner if name not in NOT_SOURCE]
            below = Path(folder).relative_to(location).parts
            for name in names if below else ():
                local = Path(folder) / name
                if not local.is_symlink():
                    yield below[0], local.as_posix(), local.lstat().st_size
