"""Matches of each line of the opt-out list: sources that hold it, and documents in the lake."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from snow_assets.corpus.ingested_names import ingested_names
from snow_assets.corpus.opt_outs import OptOut, matching_entries
from snow_assets.corpus.raw_shards import FILES
from snow_assets.corpus.repository_names import canonical, patterns
from snow_assets.corpus.sources import repositories, snapshot
from snow_assets.recipe import CorpusRecipe, Source
from snow_assets.storage import shards

_MAX_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class Match:
    """A line of the list, the sources that list a matching repository, and its documents."""

    opt_out: OptOut
    sources: tuple[str, ...]
    num_documents: int  # in the current raw code; 0 once the sources were ingested with the list


def matching_names(source: Source, recipe: CorpusRecipe, names: Iterable[str]) -> list[str]:
    """The names of a list that match a source; only these affect the source's artifact.

    Cached per snapshot and list.
    """
    version = tuple(sorted(snapshot(source, recipe).items()))
    return list(_cached_matching_names(source, recipe, version, tuple(sorted(names))))


def _matching_names_if_readable(
    source: Source, recipe: CorpusRecipe, names: Iterable[str]
) -> list[str]:
    """`matching_names`, or none if the source cannot be listed; its ingest reports the error."""
    try:
        return matching_names(source, recipe, names)
    except (OSError, ValueError):
        return []


@lru_cache(maxsize=256)
def _cached_matching_names(
    source: Source,
    recipe: CorpusRecipe,
    version: tuple[tuple[str, str], ...],  # noqa: ARG001 - part of the cache's key
    names: tuple[str, ...],
) -> tuple[str, ...]:
    if not names:
        return ()
    listing = repositories(source, recipe=recipe)
    return tuple(
        matching_entries(listing, names, may_lack_owner=source.kind in ("archives", "folder"))
    )


def matches(
    recipe: CorpusRecipe, opt_outs: Sequence[OptOut], raw_folders: Mapping[str, str]
) -> list[Match]:
    """The matches of every line, in the list's order; `raw_folders`: source -> finished artifact.

    Memory: one count for each repository of a source.
    """
    names = {opt_out.name for opt_out in opt_outs}
    names_by_source = {
        source.name: _matching_names_if_readable(source, recipe, names) for source in recipe.sources
    }
    num_documents: Counter[str] = Counter()
    for folder in raw_folders.values():
        names_of = ingested_names(folder)
        for repository, count in _documents(folder).items():
            entries = names.intersection(patterns(canonical(repository)))
            entries |= set(
                matching_entries(names_of.get(repository, ()), names, may_lack_owner=True)
            )
            num_documents.update(dict.fromkeys(entries, count))
    return [
        Match(
            opt_out=opt_out,
            sources=tuple(
                name for name, entries in names_by_source.items() if opt_out.name in entries
            ),
            num_documents=num_documents[opt_out.name],
        )
        for opt_out in opt_outs
    ]


def unmatched(matches: Iterable[Match]) -> list[str]:
    """The lines that match no source and no document, formatted for messages."""
    return [
        f"line {match.opt_out.line}: {match.opt_out.text!r} (read as {match.opt_out.name})"
        for match in matches
        if not match.sources and not match.num_documents
    ]


def markdown(matches: Sequence[Match]) -> str:
    """Markdown table with a row per line, unmatched lines first; long lists are truncated."""
    if not matches:
        return "The list is empty."
    rows = sorted(matches, key=lambda match: (bool(match.sources), match.opt_out.line))
    lines = [
        f"{len(unmatched(matches))} of {len(matches)} lines match nothing.",
        "",
        "| line | text | read as | sources | documents |",
        "| ---: | --- | --- | --- | ---: |",
    ]
    for match in rows[:_MAX_ROWS]:
        text = match.opt_out.text.replace("|", "\\|").replace("`", "'")
        sources = ", ".join(match.sources) or "**none**"
        lines.append(
            f"| {match.opt_out.line} | `{text[:120]}` | `{match.opt_out.name}` | {sources} "
            f"| {match.num_documents:,} |"
        )
    if len(rows) > _MAX_ROWS:
        lines.append(f"\n{len(rows) - _MAX_ROWS} more lines are not shown.")
    return "\n".join(lines)


def _documents(folder: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for entry in shards.manifest(folder).tables(FILES):
        column = shards.read_shard(folder, entry.name, columns=["repository"])["repository"]
        for row in column.value_counts().to_pylist():
            counts[row["values"]] += row["counts"]
    return counts
