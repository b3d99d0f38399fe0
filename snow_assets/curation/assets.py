"""Curation as assets: documents, their duplicates and contamination, a tokenizer, clean corpora."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from snow_assets import shards
from snow_assets.corpus.assets import benchmark_problems, raw_code_corpus, sources
from snow_assets.curation import asset_metadata
from snow_assets.curation.clean import artifacts_with_token_counts, decide
from snow_assets.curation.contamination import find_contamination
from snow_assets.curation.decisions import CurationInputs
from snow_assets.curation.export import export_clean
from snow_assets.curation.prepare import prepare
from snow_assets.curation.tokenizer_training import put_tokenizer, tokenizer_settings
from snow_assets.materialize import Made, Upstream, materialize, source_upstreams, upstream
from snow_assets.plots import Plot
from snow_assets.recipe import Recipe, chosen_recipe
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking

# Partitions belong to the graph, so the recipe has to be known when the graph is.
languages = dg.StaticPartitionsDefinition(list(chosen_recipe().curation.languages))

_everywhere = dg.AllPartitionMapping()


@dg.asset(group_name="curation", partitions_def=sources, kinds={"parquet"}, deps=[raw_code_corpus])
def documents(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """Text of every file in the recipe's languages, secrets redacted, with its signals beside it.

    No threshold has been applied: `clean_corpus` says which documents are kept, and why.
    """
    raw = upstream(lake, recipe, "raw_code_corpus", context.partition_key)
    spoken = recipe.curation.languages
    # Whether Python parses is dear to tell: only where a rule asks.
    with_parses = recipe.curation.rules.drop_unparsable

    def work(folder: str) -> Made:
        facts = prepare(raw.folder, folder, languages=spoken, with_parses=with_parses)
        return Made(facts=facts, metadata=_markdown(asset_metadata.counts(facts)))

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="4",
        settings={"languages": spoken, "with_parses": with_parses},
        inputs=[raw],
        work=work,
    )


@dg.asset(group_name="curation", partitions_def=sources, kinds={"parquet"}, deps=[documents])
def signatures(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """MinHash bands and shingles of every text of a source, whatever the rules say of it."""
    made = upstream(lake, recipe, "documents", context.partition_key)
    hashing = recipe.curation.near_duplicates
    settings = {
        "shingle_words": hashing.shingle_words,
        "bands": hashing.bands,
        "rows_per_band": hashing.rows_per_band,
    }

    def work(folder: str) -> Made:
        from snow_assets.curation.signatures import put_signatures

        facts = put_signatures(made.folder, folder, recipe=hashing)
        return Made(facts=facts, metadata=_markdown(asset_metadata.counts(facts)))

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="1",
        settings=settings,
        inputs=[made],
        work=work,
    )


@dg.asset(group_name="curation", kinds={"parquet"}, deps=[documents, signatures])
def near_duplicates(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """Exact and near copies over all sources, and which document of each cluster survives."""
    made = source_upstreams(lake, recipe, "documents")
    signed = source_upstreams(lake, recipe, "signatures")
    rules, thresholds = recipe.curation.rules, recipe.curation.near_duplicates

    def work(folder: str) -> Made:
        from snow_assets.curation.near_duplicates import find_near_duplicates

        facts = find_near_duplicates(
            [given.folder for given in made],
            [given.folder for given in signed],
            folder,
            rules=rules,
            recipe=thresholds,
        )
        return Made(facts=facts, metadata=_markdown(asset_metadata.clusters(folder, facts)))

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="3",
        settings={"rules": rules, "near_duplicates": thresholds},
        inputs=[*made, *signed],
        work=work,
    )


@dg.asset(
    group_name="curation",
    partitions_def=sources,
    kinds={"parquet"},
    deps=[documents, benchmark_problems],
)
def contamination(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """Documents that quote a benchmark problem, with what they quote."""
    made = upstream(lake, recipe, "documents", context.partition_key)
    known = upstream(lake, recipe, "benchmark_problems")
    thresholds = recipe.curation.contamination
    settings = {
        "ngram_words": thresholds.ngram_words,
        "min_ngram_chars": thresholds.min_ngram_chars,
        "min_substring_chars": thresholds.min_substring_chars,
        "gate_window_tokens": thresholds.gate_window_tokens,
    }

    def work(folder: str) -> Made:
        problems = shards.read(known.folder, "problems")
        facts = find_contamination(made.folder, folder, problems=problems, recipe=thresholds)
        return Made(facts=facts, metadata=_markdown(asset_metadata.hits(folder, facts)))

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="2",
        settings=settings,
        inputs=[made, known],
        work=work,
    )


@dg.asset(
    group_name="curation",
    kinds={"huggingface"},
    deps=[documents, near_duplicates, contamination],
)
def tokenizer(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """The tokenizer of every later stage: the recipe's, or one trained on kept train documents."""
    curated, inputs = _curated(lake, recipe)
    inputs = [] if recipe.curation.tokenizer.given else inputs

    def work(folder: str) -> Made:
        facts = put_tokenizer(curated, folder, recipe=recipe.curation)
        return Made(facts=facts, metadata=_markdown(asset_metadata.counts(facts)))

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="2",
        settings=tokenizer_settings(recipe.curation, curated.source_order),
        inputs=inputs,
        work=work,
    )


@dg.asset(
    group_name="curation",
    partitions_def=languages,
    kinds={"parquet"},
    deps=[
        dg.AssetDep(documents, partition_mapping=_everywhere),
        dg.AssetDep(contamination, partition_mapping=_everywhere),
        near_duplicates,
        tokenizer,
    ],
)
def clean_corpus(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """Every document of a language, kept or not and why, in train or held out, with its tokens."""
    curated, inputs = _curated(lake, recipe)
    counter = upstream(lake, recipe, "tokenizer")
    settings = {
        "rules": recipe.curation.rules,
        "held_out_share": recipe.curation.held_out_share,
        "held_out_tolerance": recipe.curation.held_out_tolerance,
        "source_order": curated.source_order,
        "seed": recipe.curation.seed,
        "contamination_exemptions": recipe.curation.contamination_exemptions,
    }

    def work(folder: str) -> Made:
        facts = decide(
            context.partition_key,
            curated,
            counter.folder,
            folder,
            recipe=recipe.curation,
            earlier=artifacts_with_token_counts(
                lake.partition("clean_corpus", context.partition_key), counter.digest
            ),
        )
        return Made(facts=facts, metadata=_markdown(asset_metadata.funnel(folder, facts)))

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="3",
        settings=settings,
        inputs=[*inputs, counter],
        work=work,
    )


@dg.asset(
    group_name="curation", partitions_def=languages, kinds={"huggingface"}, deps=[clean_corpus]
)
def dataset_exports(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """The clean corpus of a language as a data set folder, with data card and attribution."""
    clean = upstream(lake, recipe, "clean_corpus", context.partition_key)
    language = context.partition_key
    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="2",
        settings={},
        inputs=[clean],
        work=lambda folder: Made(facts=export_clean(clean.folder, folder, language=language)),
    )


def _curated(lake: Lake, recipe: Recipe) -> tuple[CurationInputs, list[Upstream]]:
    """What verdicts are made from, and the same as inputs."""
    made = source_upstreams(lake, recipe, "documents")
    copies = upstream(lake, recipe, "near_duplicates")
    quoting = source_upstreams(lake, recipe, "contamination")
    curated = CurationInputs(
        documents=[given.folder for given in made],
        near_duplicates=copies.folder,
        contamination=[given.folder for given in quoting],
        source_order=[source.name for source in recipe.corpus.sources],
    )
    return curated, [*made, copies, *quoting]


def _markdown(entries: Mapping[str, str | Plot]) -> dict[str, Any]:
    return {
        name: entry if isinstance(entry, Plot) else dg.MetadataValue.md(entry)
        for name, entry in entries.items()
    }
