"""The corpus as assets: opt-outs, exemplars and benchmark problems, and raw code by source."""

from typing import Any

import dagster as dg

from snow_assets import shards
from snow_assets.corpus import exemplars as good_code
from snow_assets.corpus import opt_outs as opted_out
from snow_assets.corpus import problems, shown, traces
from snow_assets.corpus.distributions import snapshot as installed
from snow_assets.corpus.ingest import Gate, ingest
from snow_assets.corpus.received import normalised
from snow_assets.corpus.sources import snapshot, source_named
from snow_assets.materialize import Made, check_result, materialize, upstream, upstreams
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

    The page tells where a new one had been: shards, scores, synthetic children, checkpoints.
    """
    names = opted_out.read_list(recipe.corpus.opt_out_list)

    def work(folder: str) -> Made:
        facts = {"num_repositories": opted_out.write(folder, names)}
        found = traces.markdown(traces.traces(lake.url, names))
        return Made(facts=facts, metadata={"traces": dg.MetadataValue.md(found)})

    return materialize(
        context, lake, tracking, recipe, code_version="1", settings={"opt_outs": names}, inputs=[],
        work=work,
    )  # fmt: skip


@dg.asset(group_name="corpus", kinds={"parquet"})
def benchmark_problems(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """HumanEval's problems with solutions and tests; a marked half may steer the annotator."""
    return materialize(
        context, lake, tracking, recipe, code_version="1", settings=problems.version(), inputs=[],
        work=lambda folder: Made(facts=problems.write(folder)),
    )  # fmt: skip


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
        context, lake, tracking, recipe, code_version="1", settings=settings, inputs=[known],
        work=lambda folder: Made(
            facts=good_code.write(
                folder, problems=shards.read(known.folder, problems.TABLE), **arguments
            )
        ),
    )  # fmt: skip


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
    listed = upstream(lake, recipe, "opt_outs")
    gate = Gate(
        opted_out=opted_out.read(listed.folder),
        exemplars=frozenset(normalised(name) for name in recipe.exemplars.repositories),
    )
    settings = {
        "source": source,
        "snapshot": snapshot(source, recipe.corpus),
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
        context, lake, tracking, recipe, code_version="5", settings=settings, inputs=[listed],
        work=work,
    )  # fmt: skip


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


def _folders(lake: Lake, recipe: Recipe) -> list[str]:
    return [given.folder for given in upstreams(lake, recipe, "raw_code_corpus")]
