"""Asset checks of curation."""

import dagster as dg

from snow_assets.defs.curation import clean_corpus
from snow_assets.defs.dedup import near_duplicates
from snow_assets.defs.documents import documents
from snow_assets.defs.materialize import check_result, current_artifact, current_artifacts
from snow_assets.recipe import Recipe
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_resources.lake import Lake


@dg.asset_check(asset=documents.name, blocking=True)
def documents_add_up(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Raw files = documents + drops, in each source."""
    from snow_assets.curation import violations

    return check_result(violations.validate_document_counts(_folders(lake, recipe, documents.name)))


@dg.asset_check(asset=near_duplicates.name, blocking=True)
def clusters_have_one_canonical_document(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """Each cluster has one canonical document, and no two of them are exact or near duplicates."""
    from snow_assets.curation import violations

    folder = current_artifact(lake, recipe, near_duplicates.name).folder
    with open_exchange() as exchange:
        return check_result(violations.validate_clusters(folder, exchange=exchange))


@dg.asset_check(asset=clean_corpus.name, blocking=True)
def decisions_add_up(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Documents of a language = kept + dropped, each dropped document with its reason."""
    from snow_assets.curation import violations

    folders = _clean_folders(lake, recipe)
    with open_exchange() as exchange:
        return check_result(violations.validate_decision_counts(folders, exchange=exchange))


@dg.asset_check(asset=clean_corpus.name, blocking=True)
def no_kept_document_is_contaminated(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """No kept document has a text with a contamination hit, unless it is exempt."""
    from snow_assets.curation import violations

    folders = _clean_folders(lake, recipe)
    with open_exchange() as exchange:
        return check_result(violations.validate_contamination(folders, exchange=exchange))


@dg.asset_check(asset=clean_corpus.name, blocking=True)
def split_is_disjoint(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Train and held-out documents share no repository, no text and no near-duplicate cluster."""
    from snow_assets.curation import violations

    folders = _clean_folders(lake, recipe)
    with open_exchange() as exchange:
        return check_result(violations.validate_split(folders, exchange=exchange))


@dg.asset_check(asset=clean_corpus.name)
def held_out_share_is_within_tolerance(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """The recipe's share of each language is held out; a warning if its repositories are too few
    or too large."""
    from snow_assets.curation.split import split_shortfalls

    curation = recipe.curation
    shortfalls = split_shortfalls(
        _clean_folders(lake, recipe),
        share=curation.held_out_fraction,
        tolerance=curation.held_out_tolerance,
    )
    return check_result(shortfalls, dg.AssetCheckSeverity.WARN)


def _clean_folders(lake: Lake, recipe: Recipe) -> list[str]:
    return _folders(lake, recipe, clean_corpus.name)


def _folders(lake: Lake, recipe: Recipe, asset: str) -> list[str]:
    return [artifact.folder for artifact in current_artifacts(lake, recipe, asset)]
