"""The corpus as assets: opt-outs, exemplars and benchmark problems, and raw code by source."""

from typing import Any

import dagster as dg

from snow_assets import shards
from snow_assets.corpus import exemplars as good_code
from snow_assets.corpus import opt_out_matches, problems, shown, traces
from snow_assets.corpus import opt_outs as opted_out
from snow_assets.corpus.distributions import snapshot as installed
from snow_assets.corpus.ingest import Gate, ingest
from snow_assets.corpus.received import normalised
from snow_assets.corpus.sources import snapshot, source_named
from snow_assets.materialize import (
    Made,
    check_result,
    is_planning,
    materialize,
    upstream,
    upstreams,
)
from snow_assets.recipe import Recipe, chosen_recipe
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking

# Partitions belong to the graph, so the recipe has to be known when the graph is.
sources = dg.StaticPartitionsDefinition([source.name for source in chosen_recipe().corpus.sources])


@dg.asset(group_name="corpus", kinds={"text"})
def opt_outs(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """Repositories whose owners asked to be left out; none of them enters the corpus.

    The page tells what each line matches, and where a new one had been: shards, scores, synthetic
    children, checkpoints.
    """
    listed = opted_out.read_opt_outs(_list_url(lake, recipe))
    names = sorted({opt_out.name for opt_out in listed})

    def work(folder: str) -> Made:
        facts = {"num_repositories": opted_out.write(folder, names)}
        matches = opt_out_matches.matches(recipe.corpus, listed, _raw_folders(lake, recipe))
        metadata = {
            "matches": dg.MetadataValue.md(opt_out_matches.markdown(matches)),
            "traces": dg.MetadataValue.md(traces.markdown(traces.traces(lake.url, names))),
        }
        return Made(facts=facts, metadata=metadata)

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="2",
        settings={"opt_outs": names},
        inputs=[],
        work=work,
    )


@dg.asset(group_name="corpus", kinds={"parquet"})
def benchmark_problems(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """HumanEval's problems with solutions and tests; a marked half may steer the annotator."""
    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="1",
        settings=problems.version(),
        inputs=[],
        work=lambda folder: Made(facts=problems.write(folder)),
    )


@dg.asset(group_name="corpus", kinds={"parquet"}, deps=[benchmark_problems])
def exemplars(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """Good code for the annotator: files and docstring-to-function pairs, never in the corpus."""
    known = upstream(lake, recipe, "benchmark_problems")
    arguments: dict[str, Any] = {
        "recipe": recipe.exemplars,
        "corpus": recipe.corpus,
        "languages": recipe.curation.languages,
        "min_substring_chars": recipe.curation.contamination.min_substring_chars,
    }
    settings = {
        "exemplars": recipe.exemplars,
        "permissive_licenses": recipe.corpus.permissive_licenses,
        "max_file_bytes": recipe.corpus.max_file_bytes,
        "languages": recipe.curation.languages,
        "min_substring_chars": recipe.curation.contamination.min_substring_chars,
        "versions": installed(recipe.exemplars.repositories),
    }
    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="1",
        settings=settings,
        inputs=[known],
        work=lambda folder: Made(
            facts=good_code.write(
                folder, problems=shards.read(known.folder, problems.TABLE), **arguments
            )
        ),
    )


@dg.asset(
    group_name="corpus", partitions_def=sources, kinds={"parquet"}, deps=[opt_outs, exemplars]
)
def raw_code_corpus(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """Code as received, each file under a permissive licence, and what was refused and why."""
    source = source_named(recipe.corpus, context.partition_key)
    names = _opted_out(lake, recipe)
    gate = Gate(
        opted_out=names,
        exemplars=frozenset(normalised(name) for name in recipe.exemplars.repositories),
    )
    settings = {
        "source": source,
        "snapshot": snapshot(source, recipe.corpus),
        # Not the whole list: an opt-out reads only those sources again that hold it.
        "opted_out": opt_out_matches.held_by(source, recipe.corpus, names),
        "exemplars": recipe.exemplars.repositories,
        "languages": recipe.curation.languages,
        "permissive_licenses": recipe.corpus.permissive_licenses,
        "max_file_bytes": recipe.corpus.max_file_bytes,
        "archives": recipe.corpus.archives,
        "shard_bytes": recipe.corpus.shard_bytes,
    }
    languages = recipe.curation.languages

    def work(folder: str) -> Made:
        facts = ingest(folder, source, recipe=recipe.corpus, languages=languages, gate=gate)
        return Made(facts=facts, metadata={"counts": dg.MetadataValue.md(shown.markdown(facts))})

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="8",
        settings=settings,
        inputs=[],
        work=work,
    )


@dg.asset_check(asset=raw_code_corpus, blocking=True)
def raw_files_add_up(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Rows in = files + drops, in every source, and no document twice."""
    return check_result(shown.wrong_counts(_folders(lake, recipe)))


@dg.asset_check(asset=raw_code_corpus, blocking=True)
def raw_licenses_are_permissive(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """Every licence in the corpus is on the recipe's allow-list."""
    wrong = shown.wrong_licenses(_folders(lake, recipe), recipe.corpus.permissive_licenses)
    return check_result(wrong)


@dg.asset_check(asset=raw_code_corpus)
def raw_corpus_has_its_sources(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Every source of the recipe is there, and they have as many repositories as it asks for."""
    made = {given.partition: given.folder for given in upstreams(lake, recipe, "raw_code_corpus")}
    return check_result(shown.missing_sources(made, recipe.corpus), dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=raw_code_corpus)
def opt_outs_match_and_left(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Every line of the opt-out list matches a source, and no listed repository is left in one."""
    listed = opted_out.read_opt_outs(_list_url(lake, recipe))
    matches = opt_out_matches.matches(recipe.corpus, listed, _raw_folders(lake, recipe))
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


def _list_url(lake: Lake, recipe: Recipe) -> str:
    return opted_out.list_url(recipe.corpus.opt_out_list, lake=lake.url)


def _opted_out(lake: Lake, recipe: Recipe) -> frozenset[str]:
    """The list as the recipe took it over; a plan reads the list itself, which may be newer."""
    if is_planning():
        return frozenset(opted_out.read_list(_list_url(lake, recipe)))
    return opted_out.read(upstream(lake, recipe, "opt_outs").folder)


def _raw_folders(lake: Lake, recipe: Recipe) -> dict[str, str]:
    return {raw.partition: raw.folder for raw in upstreams(lake, recipe, "raw_code_corpus")}


def _folders(lake: Lake, recipe: Recipe) -> list[str]:
    return [given.folder for given in upstreams(lake, recipe, "raw_code_corpus")]
