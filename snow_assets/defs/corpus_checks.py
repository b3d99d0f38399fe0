"""Checks of the corpus: counts, licences, sources, opt-outs."""

import dagster as dg

from snow_assets.corpus import opt_outs as opted_out
from snow_assets.defs.corpus import opt_out_list_url, raw_code_corpus, raw_folders
from snow_assets.defs.materialize import check_result
from snow_assets.recipe import Recipe
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_resources.lake import Lake


@dg.asset_check(asset=raw_code_corpus.name, blocking=True)
def raw_files_add_up(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Rows in = files + drops, in every source, and no document twice."""
    from snow_assets.corpus import validation

    with open_exchange() as exchange:
        folders = list(raw_folders(lake, recipe).values())
        violations = validation.validate_counts(folders, exchange=exchange)
    return check_result(violations)


@dg.asset_check(asset=raw_code_corpus.name, blocking=True)
def raw_licenses_are_permissive(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """Every licence in the corpus is on the recipe's allow-list."""
    from snow_assets.corpus import validation

    wrong = validation.validate_licenses(
        list(raw_folders(lake, recipe).values()), recipe.corpus.permissive_licenses
    )
    return check_result(wrong)


@dg.asset_check(asset=raw_code_corpus.name)
def raw_corpus_has_its_sources(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Every source of the recipe is there, and they have as many repositories as it requires."""
    from snow_assets.corpus import validation

    missing = validation.validate_sources(raw_folders(lake, recipe), recipe.corpus)
    return check_result(missing, dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=raw_code_corpus.name)
def opt_outs_match_and_left(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Every line of the opt-out list matches a source, and no listed repository is left in one."""
    from snow_assets.corpus import opt_out_matches

    listed = opted_out.read_opt_outs(opt_out_list_url(lake, recipe))
    matches = opt_out_matches.matches(recipe.corpus, listed, raw_folders(lake, recipe))
    left = [
        f"line {match.opt_out.line}: {match.num_documents} documents of {match.opt_out.name} are "
        f"left; materialize raw_code_corpus of {', '.join(match.sources)} again"
        for match in matches
        if match.num_documents
    ]
    unmatched = [f"{line} matches nothing" for line in opt_out_matches.unmatched(matches)]
    faults = [*left, *unmatched]
    return dg.AssetCheckResult(
        passed=not faults,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(faults[:5]) or None,
        metadata={"matches": dg.MetadataValue.md(opt_out_matches.markdown(matches))},
    )
