"""Metadata and validation of ingested sources: counts as a table, violations as sentences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from snow_assets.corpus.ingest import DROPS, FILES
from snow_assets.corpus.licenses import is_permitted
from snow_assets.recipe import CorpusRecipe
from snow_assets.storage import shards

_MAX_ROWS = 50


def markdown(stats: Mapping[str, Any]) -> str:
    """The largest counts as a Markdown table; untrusted names are escaped."""
    rows = [
        (count, kind, name)
        for kind in ("languages", "licenses", "reasons")
        for name, count in stats.get(kind, {}).items()
    ]
    rows.sort(key=lambda row: (row[1], -row[0], row[2]))
    lines = ["| what | name | files |", "| --- | --- | ---: |"]
    lines += [f"| {kind} | `{_escape(name)}` | {count} |" for count, kind, name in rows[:_MAX_ROWS]]
    return "\n".join(lines)


def validate_counts(folders: Sequence[str]) -> list[str]:
    """Validate that rows add up to the input files, and that documents are unique."""
    violations = []
    for folder in folders:
        manifest = shards.manifest(folder)
        num_in = manifest.stats["num_files_in"]
        num_rows = manifest.num_rows(FILES) + manifest.num_rows(DROPS)
        if num_in != num_rows:
            violations.append(f"{folder}: {num_in} came in, {num_rows} are in files and drops")
        names = shards.read(folder, FILES, columns=["document_id"])["document_id"].to_pylist()
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            violations.append(f"{folder}: {len(twice)} documents stand in it twice, as {twice[0]}")
    return violations


def validate_licenses(folders: Sequence[str], permissive: Sequence[str]) -> list[str]:
    """Validate that all licences of admitted files are on the allow-list."""
    counts: Counter[str] = Counter()
    for folder in folders:
        counts.update(shards.read(folder, FILES, columns=["license"])["license"].to_pylist())
    return [
        f"{count} files are under {name}, which is not on the allow-list"
        for name, count in sorted(counts.items())
        if not is_permitted(name, permissive)
    ]


def validate_sources(partitions: Mapping[str, str], recipe: CorpusRecipe) -> list[str]:
    """Validate that all sources were ingested, with enough repositories in total."""
    violations = [
        f"the source {source.name} was never materialized"
        for source in recipe.sources
        if source.name not in partitions
    ]
    counts = [shards.manifest(folder).stats["num_repositories"] for folder in partitions.values()]
    if sum(counts) < recipe.min_repositories:
        violations.append(
            f"{sum(counts)} repositories; the recipe requires {recipe.min_repositories}"
        )
    return violations


def _escape(name: str) -> str:
    return "".join(c if c.isprintable() and c not in "`|<>\\" else "?" for c in name)[:80]
