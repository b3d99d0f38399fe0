"""Uniform access to all kinds of sources: units in a fixed order, and the source's snapshot."""

from collections.abc import Iterator, Sequence

from snow_assets.corpus import archives, distributions, folders, tables
from snow_assets.corpus.source_units import Unit
from snow_assets.corpus.spdx import is_spdx
from snow_assets.recipe import CorpusRecipe, Source


def source_named(recipe: CorpusRecipe, name: str) -> Source:
    """The recipe's source by name; ValueError if the recipe has none."""
    for source in recipe.sources:
        if source.name == name:
            return source
    names = [source.name for source in recipe.sources]
    raise ValueError(
        f"the recipe has no source {name!r}, only {names}: the code location was "
        f"loaded under another recipe; reload it"
    )


def snapshot(source: Source, recipe: CorpusRecipe) -> dict[str, str]:
    """Versions or sizes of the source's parts, which are part of the artifact's fingerprint."""
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
    """Yield every name under which a repository of the source may enter the corpus.

    Names may repeat, some may belong to no repository, and those of archives may lack their owner.
    """
    match source.kind:
        case "distributions":
            return distributions.repositories(source.locations)
        case "folder" | "archives":
            # An archive's manifests may state names too, so that all archives are inspected.
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


def license_violations(recipe: CorpusRecipe) -> list[str]:
    """The recipe's licences that SPDX does not list: nothing would ever be admitted by them."""
    return [
        f"permissive_licenses: {name!r} is not on SPDX's list of identifiers: correct it, or "
        "leave it out"
        for name in recipe.permissive_licenses
        if not is_spdx(name)
    ]


def source_violations(recipe: CorpusRecipe) -> list[str]:
    """Validate that all sources can be read: a line per missing folder, file or distribution.

    Takes the snapshot of every source, so that an error of the last source is reported before the
    first source is read.
    """
    violations = license_violations(recipe)
    for source in recipe.sources:
        try:
            snapshot(source, recipe)
        except (OSError, ValueError) as error:
            violations.append(f"source {source.name!r}: {error}")
    return violations


def units(source: Source, *, languages: Sequence[str], recipe: CorpusRecipe) -> Iterator[Unit]:
    """The units of a source, with files whose name may be of `languages` and that are small enough.

    Nothing is read until a unit's `listing` or `files` is called.
    """
    max_file_bytes = recipe.max_file_bytes
    match source.kind:
        case "distributions":
            return distributions.units(
                source.locations, languages=languages, max_file_bytes=max_file_bytes
            )
        case "folder":
            return folders.units(
                source,
                languages=languages,
                max_file_bytes=max_file_bytes,
                max_entries=recipe.archives.max_members,
            )
        case "archives":
            return archives.units(
                source.locations,
                languages=languages,
                max_file_bytes=max_file_bytes,
                limits=recipe.archives,
                repositories=source.repositories,
            )
        case "stack_v3" | "rows":
            return tables.units(
                source.locations,
                inline=source.kind == "stack_v3",
                languages=languages,
                max_file_bytes=max_file_bytes,
                limits=recipe.archives,
            )
