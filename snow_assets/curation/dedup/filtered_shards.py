"""Documents that pass the filters, and texts of which no document does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from snow_assets.curation.dedup.text_keys import TextKeys, text_keys
from snow_assets.curation.document_shards import DocumentShard
from snow_assets.curation.filters.heuristics import COLUMNS, passing_rows
from snow_assets.recipe import FiltersRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.partitions import ranges_of

_PASSES = pa.schema([("text", pa.uint64()), ("passes", pa.bool_())])
_TEXT = pa.schema([("text", pa.uint64())])
_PASSES_BYTES = 9


@dataclass(frozen=True, kw_only=True)
class FilteredShard:
    """A shard of documents without the rows that fail the filters."""

    document_shard: DocumentShard
    filters: FiltersRecipe

    def read(self, columns: Sequence[str]) -> pa.Table:
        table = self.document_shard.read(list(dict.fromkeys((*columns, *COLUMNS))))
        rows = passing_rows(table, self.document_shard.language, self.filters)
        return table.select(columns).filter(pa.array(rows))


def filtered_texts(
    document_shards: Sequence[DocumentShard], filters: FiltersRecipe, exchange: Exchange
) -> TextKeys:
    """The ascending keys of texts of which no document passes the filters.

    A text may pass in one file and fail in another, because filters depend on the language.
    Memory: 8 bytes per such text.
    """
    num_documents = sum(shard.num_rows for shard in document_shards)
    documents = exchange.by_key(
        exchange.map_shards(_text_passes, document_shards, schema=_PASSES, filters=filters),
        ranges_of("text"),
        num_partitions=exchange.num_partitions(num_documents * _PASSES_BYTES),
    )
    tables = exchange.gather(exchange.map_shards(_texts_without_pass, documents, schema=_TEXT))
    return np.concatenate([_TEXT.empty_table()["text"], *(table["text"] for table in tables)])


def _text_passes(document_shard: DocumentShard, *, filters: FiltersRecipe) -> pa.Table:
    documents = document_shard.read([*COLUMNS, "text_id"])
    rows = passing_rows(documents, document_shard.language, filters)
    columns = [pa.array(text_keys(documents["text_id"])), pa.array(rows)]
    return pa.table(columns, schema=_PASSES)


def _texts_without_pass(documents: pa.Table) -> pa.Table:
    """The ascending texts of a partition."""
    texts, passes = documents["text"].to_numpy(), documents["passes"].to_numpy()
    failing = np.setdiff1d(texts[~passes], texts[passes])
    return pa.table([pa.array(failing)], schema=_TEXT)
