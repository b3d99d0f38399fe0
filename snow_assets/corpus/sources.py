"""One way into every kind of source: its units, in a fixed order, and the snapshot they are of."""

from collections.abc import Iterator, Sequence

from snow_assets.corpus import archives, distributions, folders, tables
from snow_assets.corpus.received import Unit
from snow_assets.recipe import CorpusRecipe, Source


def source_named(recipe: CorpusRecipe, name: str) -> Source:
    """The recipe's source of a partition; ValueError if the recipe does not know it."""
    for source in recipe.sources:
        if source.name == name:
            return source
    known = [source.name for source in recipe.sources]
    raise ValueError(
        f"the recipe has no source {name!r}, only {known}: the code location was "
        f"loaded under another recipe; reload it"
    )


def snapshot(source: Source, recipe: CorpusRecipe) -> dict[str, str]:
    """Versions or sizes of what the source consists of: another snapshot is another address."""
    match source.kind:
        case "distributions":
            return distributions.snapshot(source.locations)
        case "folder":
            return folders.snapshot(source, max_entries=recipe.archives.max_members)
        case "archives":
            return archives.snapshot(source.locations)
        case "stack_v3" | "rows":
            return tables.snapshot(source.locations)


def repositories(source: Source, *, recipe: CorpusRecipe) -> Iterator[str]:
    """Every name under which a repository of the source may enter the corpus.

    Names may repeat, some may belong to no repository, and those of archives may lack their owner.
    """
    match source.kind:
        case "distributions":
            return distributions.repositories(source.locations)
        case "folder" | "archives":
            # An archive tells its names in its manifests too, so that all are inspected.
            return (
                name
                for unit in units(source, languages=(), recipe=recipe)
                for name in (unit.repository or unit.name, *unit.names())
            )
        case "stack_v3" | "rows":
            return tables.repositories(
                source.locations,
                inline=source.kind == "stack_v3",
                max_file_bytes=recipe.max_file_bytes,
                limits=recipe.archives,
            )


def source_violations(recipe: CorpusRecipe) -> list[str]:
    """What keeps sources from being read, a line each: a missing folder, file or distribution.

    Looks at every source as `snapshot` does, so that a fault of the last one is told before the
    first one is read.
    """
    violations = []
    for source in recipe.sources:
        try:
            snapshot(source, recipe)
        except (OSError, ValueError) as error:
            violations.append(f"source {source.name!r}: {error}")
    return violations


def units(source: Source, *, languages: Sequence[str], recipe: CorpusRecipe) -> Iterator[Unit]:
    """The units of a source: files whose name may be of one of `languages`, never too large ones.

    Nothing is read until a unit's `listing` or `files` is called.
    """
    most = recipe.max_file_bytes
    match source.kind:
        case "distributions":
            return distributions.units(source.locations, languages=languages, max_file_bytes=most)
        case "folder":
            return folders.units(
                source,
                languages=languages,
                max_file_bytes=most,
                max_entries=recipe.archives.max_members,
            )
        case "archives":
            return archives.units(
                source.locations,
                languages=languages,
                max_file_bytes=most,
                limits=recipe.archives,
                repositories=source.repositories,
            )
        case "stack_v3" | "rows":
            return tables.units(
                source.locations,
                inline=source.kind == "stack_v3",
                languages=languages,
                max_file_bytes=most,
                limits=recipe.archives,
            )
