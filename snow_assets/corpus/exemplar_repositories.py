"""Repositories of the annotator's positives, which no source may bring into the corpus."""

from functools import lru_cache

from snow_assets.corpus.opt_out_matches import matching_names
from snow_assets.corpus.repository_names import canonical
from snow_assets.corpus.sources import repositories, snapshot
from snow_assets.recipe import CorpusRecipe, ExemplarRecipe, Source


def exemplar_repositories(recipe: ExemplarRecipe, corpus: CorpusRecipe) -> frozenset[str]:
    """The canonical names of all groups' repositories; groups of rows have none.

    Lists the groups' sources, once per snapshot. Memory: the names.
    """
    return frozenset(
        name for group in recipe.file_groups for name in _repositories(group.source, corpus)
    )


def matching_exemplars(source: Source, recipe: ExemplarRecipe, corpus: CorpusRecipe) -> list[str]:
    """What decides over a source's artifact: the groups' distributions, and of the repositories of
    other groups those that the source holds."""
    distributions: list[str] = []
    other_repositories: set[str] = set()
    for group in recipe.file_groups:
        if group.source.kind == "distributions":
            distributions += group.source.locations
        else:
            other_repositories |= _repositories(group.source, corpus)
    return [*distributions, *matching_names(source, corpus, other_repositories)]


def _repositories(source: Source, corpus: CorpusRecipe) -> frozenset[str]:
    return _cached_repositories(source, corpus, tuple(sorted(snapshot(source, corpus).items())))


@lru_cache(maxsize=256)
def _cached_repositories(
    source: Source,
    corpus: CorpusRecipe,
    version: tuple[tuple[str, str], ...],  # noqa: ARG001 - part of the cache's key
) -> frozenset[str]:
    return frozenset(canonical(name) for name in repositories(source, recipe=corpus))
