"""Stage `documents`: decoded, redacted texts with their signals."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from snow_assets.defs.corpus import raw_code_corpus
from snow_assets.plots import Plot
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_assets.stages import (
    CostModel,
    Input,
    Partitions,
    StageInputs,
    StageResult,
    StageRun,
    StageTable,
    always,
    stage,
)
from snow_assets.storage.schemas.corpus import DROP
from snow_assets.storage.schemas.curation import DOCUMENT, SIGNALS


def as_markdown(entries: Mapping[str, str | Plot]) -> dict[str, Any]:
    """Dagster's metadata of Markdown texts and plots."""
    return {
        name: entry if isinstance(entry, Plot) else dg.MetadataValue.md(entry)
        for name, entry in entries.items()
    }


def _documents_config(inputs: StageInputs) -> Any:
    curation = inputs.recipe.curation
    return {
        "languages": curation.languages,
        "signals": [field.name for field in SIGNALS],
        # Whether Python parses is expensive to find out: only where a filter needs it.
        "with_parses": curation.filters.drop_unparsable,
    }


@stage(
    group="curation",
    code_version="4",
    inputs=(Input(stage=raw_code_corpus),),
    config=_documents_config,
    partitions=Partitions.SOURCES,
    tables=(
        StageTable(name="documents", schema=DOCUMENT, repository_column="repository"),
        StageTable(name="drops", schema=DROP),
    ),
    kinds={"parquet"},
    is_distributed=always,
    automation="always",
    cost=CostModel(stored_fraction=0.24),
)
def documents(run: StageRun) -> StageResult:
    """Text of every file in the recipe's languages, secrets redacted, with its signals beside it.

    No threshold has been applied: `clean_corpus` says which documents are kept, and why.
    """
    from snow_assets.curation import asset_metadata
    from snow_assets.curation.prepare import prepare

    with open_exchange() as exchange:
        stats = prepare(
            run.input(raw_code_corpus).folder,
            run.folder,
            languages=run.recipe.curation.languages,
            with_parses=run.recipe.curation.filters.drop_unparsable,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=as_markdown(asset_metadata.counts(stats)))
