"""What a data user looks at and what the checks read: counts as a table, faults as sentences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from snow_assets import shards
from snow_assets.corpus.ingest import DROPS, FILES
from snow_assets.corpus.licenses import is_permitted
from snow_assets.recipe import CorpusRecipe

_MOST_ROWS = 50


def markdown(facts: Mapping[str, Any]) -> str:
    """The largest counts as a Markdown table; names come from outside and are made harmless."""
    rows = [
        (count, kind, name)
        for kind in ("languages", "licenses", "reasons")
        for name, count in facts.get(kind, {}).items()
    ]
    rows.sort(key=lambda row: (row[1], -row[0], row[2]))
    lines = ["| what | name | files |", "| --- | --- | ---: |"]
    lines += [f"| {kind} | `{_plain(name)}` | {count} |" for count, kind, name in rows[:_MOST_ROWS]]
    return "\n".join(lines)


def wrong_counts(folders: Sequence[str]) -> list[str]:
    """Where rows do not add up to what came in, or a document is there twice."""
    wrong = []
    for folder in folders:
        manifest = shards.manifest(folder)
        came = manifest.facts["num_files_in"]
        there = manifest.num_rows(FILES) + manifest.num_rows(DROPS)
        if came != there:
            wrong.append(f"{folder}: {came} came in, {there} are in files and drops")
        names = shards.read(folder, FILES, columns=["document_id"])["document_id"].to_pylist()
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            wrong.append(f"{folder}: {len(twice)} documents stand in it twice, as {twice[0]}")
    return wrong


def wrong_licenses(folders: Sequence[str], permissive: Sequence[str]) -> list[str]:
    """Licences of admitted files that are not on the list."""
    found: Counter[str] = Counter()
    for folder in folders:
        found.update(shards.read(folder, FILES, columns=["license"])["license"].to_pylist())
    return [
        f"{count} files are under {name}, which is not on the allow-list"
        for name, count in sorted(found.items())
        if not is_permitted(name, permissive)
    ]


def missing_sources(partitions: Mapping[str, str], recipe: CorpusRecipe) -> list[str]:
    """Sources that were never ingested, and too few repositories in all together."""
    wrong = [
        f"the source {source.name} was never materialized"
        for source in recipe.sources
        if source.name not in partitions
    ]
    counts = [shards.manifest(folder).facts["num_repositories"] for folder in partitions.values()]
    if sum(counts) < recipe.min_repositories:
        wrong.append(
            f"{sum(counts)} repositories, and the recipe asks for {recipe.min_repositories}"
        )
    return wrong


def _plain(name: str) -> str:
    return "".join(c if c.isprintable() and c not in "`|<>\\" else "?" for c in name)[:80]
