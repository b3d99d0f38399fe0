"""Rank a language's documents and assign repeats, over shards and partitions of an exchange.

A document's rank key is an integer that grows from the first rank to the last: made of its logit,
or of a hash of seed and text. Partitions are ranges of rank keys; documents of equal keys are
ordered by text_id, then document_id. What precedes a partition follows from the totals of those
before it, so that the result is the one of a single sorted table, whatever their number.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snow_assets.curation.dedup.text_keys import text_keys
from snow_assets.curation.hashing import splitmix64
from snow_assets.curation.kept import kept_shard
from snow_assets.recipe import SelectionRecipe
from snow_assets.runtime.exchange.contract import (
    MAX_PARTITIONS,
    Exchange,
    Partition,
    PartitionIndices,
    ShardMap,
)
from snow_assets.runtime.exchange.partitions import indices_in, ranges_of
from snow_assets.storage import shards
from snow_assets.storage.schemas.quality import SELECTION
from snow_assets.storage.shards import FileRecord

_DOCUMENT_COLUMNS = ("document_id", "text_id", "repository", "license", "num_tokens")
_TEXT_KEY = pa.field("text_key", pa.uint64())
_RANK_KEY = pa.field("rank_key", pa.uint64())
_SHARD = pa.field("shard", pa.uint16())
_TRAINABLE = pa.schema([*(SELECTION.field(name) for name in _DOCUMENT_COLUMNS), _TEXT_KEY])
_SCORED_TEXT = pa.schema([SELECTION.field("text_id"), SELECTION.field("logit"), _TEXT_KEY])
RANKABLE = pa.schema(
    [*(SELECTION.field(name) for name in (*_DOCUMENT_COLUMNS, "logit")), _RANK_KEY]
)
"""A scored document before it is ranked."""
_KEYS = pa.schema([_RANK_KEY])
_TOTALS = pa.schema([("rows", pa.int64()), ("tokens", pa.int64())])
_REPEATED = pa.schema([("tokens", pa.int64())])
_RANKED = pa.schema([*SELECTION, _SHARD])
_WRITTEN = pa.schema(
    [
        ("documents", pa.int64()),
        ("selected_documents", pa.int64()),
        ("selected_tokens", pa.int64()),
        ("unique_tokens", pa.int64()),
        ("least_selected_logit", pa.float32()),
    ]
)

_ROW_BYTES = 250  # two digests, a repository and a licence, numbers
_SHARD_ROWS = 1_000_000
_KEYS_PER_SHARD = 256  # a sample that divides the documents about equally

Integers = npt.NDArray[np.int64]
RankKeys = npt.NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True)
class LanguageBudget:
    """What a language's documents are repeated for."""

    recipe: SelectionRecipe
    budget_tokens: int
    is_selected: bool  # whether the annotator may select in it; else nothing is repeated


@dataclass(frozen=True, kw_only=True)
class RankedLanguage:
    """Totals of a language's ranked documents; `selected_tokens` counts repeats."""

    documents: int
    selected_documents: int
    budget_tokens: int
    selected_tokens: int
    unique_tokens: int
    least_selected_logit: float | None

    @property
    def missing_tokens(self) -> int:
        """Tokens by which the selection falls short of the budget; 0 if it is met."""
        return max(0, self.budget_tokens - self.selected_tokens)


@dataclass(frozen=True)
class _Preceding:
    """Of the partitions before one."""

    rows: int
    tokens: int
    repeated_tokens: int = 0


def rank_language(
    folder: str,
    table: str,
    *,
    clean_folder: str,
    scores_folder: str,
    budget: LanguageBudget,
    exchange: Exchange,
) -> RankedLanguage:
    """Rank the kept training documents by their scores, and write the table, of SELECTION.

    ValueError if a document has no score. Memory: that of the exchange, and 2 KB a part of scores.
    """
    decisions = shards.manifest(clean_folder).tables("decisions")
    parts = shards.manifest(scores_folder).tables("scores")
    num_partitions = exchange.num_partitions(sum(part.num_rows or 0 for part in parts) * _ROW_BYTES)
    documents = exchange.by_key(
        exchange.map_shards(_trainable, decisions, schema=_TRAINABLE, clean_folder=clean_folder),
        ranges_of(_TEXT_KEY.name),
        num_partitions=num_partitions,
    )
    scores = exchange.by_key(
        exchange.map_shards(_scored_texts, parts, schema=_SCORED_TEXT, scores_folder=scores_folder),
        ranges_of(_TEXT_KEY.name),
        num_partitions=num_partitions,
    )
    scored = exchange.map_shards(
        _with_logits,
        documents,
        scores,
        schema=RANKABLE,
        recipe=budget.recipe,
        origin=f"of {clean_folder} have no finite score in {scores_folder}",
    )
    keys = np.zeros(0, np.uint64)  # of no score, or of one partition
    if num_partitions > 1 and parts:
        sampled = exchange.map_shards(
            _sampled_keys, parts, schema=_KEYS, scores_folder=scores_folder, recipe=budget.recipe
        )
        keys = np.sort(np.concatenate([keys["rank_key"] for keys in exchange.gather(sampled)]))
    num_ranges = num_partitions if len(keys) else 1
    boundaries = keys[len(keys) * np.arange(1, num_ranges) // num_ranges]
    return put_ranking(folder, table, scored, boundaries, budget=budget, exchange=exchange)


def put_ranking(
    folder: str,
    table: str,
    scored: ShardMap,
    boundaries: RankKeys,
    *,
    budget: LanguageBudget,
    exchange: Exchange,
) -> RankedLanguage:
    """Write scored documents (RANKABLE), in the order of their ranks, as shards of SELECTION.

    `boundaries`, ascending rank keys, divide them into partitions.
    """
    ranges = exchange.by_key(
        scored,
        partial(_partition_of, boundaries=boundaries),
        num_partitions=len(boundaries) + 1,
    )
    totals = list(exchange.gather(exchange.map_shards(_totals, ranges, schema=_TOTALS)))
    rows, tokens = (_column(totals, name) for name in _TOTALS.names)
    preceding = [_Preceding(*sums) for sums in zip(_before(rows), _before(tokens), strict=True)]
    total_tokens = sum(tokens)
    if budget.recipe.fill == "budget" and len(ranges) > 1:
        repeated = exchange.map_shards(
            _repeated_tokens,
            ranges,
            preceding,
            schema=_REPEATED,
            total_tokens=total_tokens,
            recipe=budget.recipe,
        )
        preceding = [
            _Preceding(each.rows, each.tokens, repeated_tokens)
            for each, repeated_tokens in zip(
                preceding, _before(_column(list(exchange.gather(repeated)), "tokens")), strict=True
            )
        ]
    shard_rows = max(_SHARD_ROWS, -(-sum(rows) // MAX_PARTITIONS))
    ranked = exchange.map_shards(
        _ranked,
        ranges,
        preceding,
        schema=_RANKED,
        total_tokens=total_tokens,
        budget=budget,
        shard_rows=shard_rows,
    )
    num_shards = max(1, -(-sum(rows) // shard_rows))
    output = exchange.by_key(ranked, indices_in(_SHARD.name), num_partitions=num_shards)
    return _written(folder, table, output, budget, exchange)


def _written(
    folder: str,
    table: str,
    output: Sequence[Partition],
    budget: LanguageBudget,
    exchange: Exchange,
) -> RankedLanguage:
    written = exchange.map_shards(
        _put_shard, output, range(len(output)), schema=_WRITTEN, folder=folder, table=table
    )
    totals = pl.DataFrame(pa.concat_tables(exchange.gather(written)))
    sums = totals.drop("least_selected_logit").sum().row(0, named=True)
    return RankedLanguage(
        **sums,
        budget_tokens=budget.budget_tokens,
        least_selected_logit=totals.select(pl.min("least_selected_logit")).item(),
    )


def _key_column(recipe: SelectionRecipe) -> str:
    return "text_id" if recipe.ranking == "random" else "logit"


def rank_keys(table: pa.Table, recipe: SelectionRecipe) -> RankKeys:
    """The rank key of each row, of its `text_id` if the ranking is random, else of its `logit`."""
    if _key_column(recipe) == "text_id":
        seed = splitmix64(np.array([recipe.ranking_seed], dtype=np.uint64))
        hashes: RankKeys = splitmix64(text_keys(table["text_id"]) ^ seed)
        return hashes
    logits = table["logit"].to_numpy().astype(np.float32) + np.float32(0)  # which makes -0.0 0.0
    bits = logits.view(np.uint32)
    # Positive numbers sort as their bits do, negative ones against them.
    ascending = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))
    return (ascending if recipe.ranking == "lowest_quality" else ~ascending).astype(np.uint64)


def _trainable(entry: FileRecord, *, clean_folder: str) -> pa.Table:
    rows = kept_shard(clean_folder, entry, _DOCUMENT_COLUMNS)
    return rows.append_column(_TEXT_KEY, pa.array(text_keys(rows["text_id"]))).cast(_TRAINABLE)


def _scored_texts(part: FileRecord, *, scores_folder: str) -> pa.Table:
    rows = shards.read_shard(scores_folder, part.name, columns=["text_id", "logit"])
    return rows.append_column(_TEXT_KEY, pa.array(text_keys(rows["text_id"]))).cast(_SCORED_TEXT)


def _sampled_keys(part: FileRecord, *, scores_folder: str, recipe: SelectionRecipe) -> pa.Table:
    rows = shards.read_shard(scores_folder, part.name, columns=[_key_column(recipe)])
    keys = np.sort(rank_keys(rows, recipe))
    return pa.table([keys[:: max(1, len(keys) // _KEYS_PER_SHARD)]], schema=_KEYS)


def _with_logits(
    documents: pa.Table, scores: pa.Table, *, recipe: SelectionRecipe, origin: str
) -> pa.Table:
    joined = pl.DataFrame(documents).join(
        pl.DataFrame(scores.select(["text_id", "logit"])), on="text_id", how="left", validate="m:1"
    )
    has_score = pl.col("logit").is_finite().fill_null(value=False)
    unscored = joined.filter(~has_score)["document_id"].to_list()
    if unscored:
        raise ValueError(
            f"{len(unscored)} or more documents {origin}, {min(unscored)} for one: materialize "
            "these scores again"
        )
    rows = joined.select(*_DOCUMENT_COLUMNS, "logit").to_arrow()
    return rows.append_column(_RANK_KEY, pa.array(rank_keys(rows, recipe))).cast(RANKABLE)


def _partition_of(table: pa.Table, _: int, *, boundaries: RankKeys) -> PartitionIndices:
    keys = table[_RANK_KEY.name].to_numpy()
    indices: PartitionIndices = np.searchsorted(boundaries, keys, side="right").astype(np.uint16)
    return indices


def _in_order(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(table).sort(_RANK_KEY.name, "text_id", "document_id")


def _column(tables: Sequence[pa.Table], name: str) -> list[int]:
    return [value for table in tables for value in table[name].to_pylist()]


def _before(values: Sequence[int]) -> list[int]:
    """The sum of the values before each."""
    return list(itertools.accumulate(values, initial=0))[:-1]


def _totals(table: pa.Table) -> pa.Table:
    tokens = int(table["num_tokens"].to_numpy().sum())
    return pa.table([[table.num_rows], [tokens]], schema=_TOTALS)


def _percentiles(
    tokens: Integers, preceding: _Preceding, total_tokens: int
) -> npt.NDArray[np.float64]:
    tokens_below = total_tokens - preceding.tokens - np.cumsum(tokens)
    percentiles: npt.NDArray[np.float64] = tokens_below / max(1, total_tokens)
    return percentiles


def _percentile_repeats(percentiles: npt.NDArray[np.float64], recipe: SelectionRecipe) -> Integers:
    repeats: Integers = np.array([0, *recipe.repeats])[
        np.searchsorted(recipe.percentiles, percentiles, side="right")
    ]
    return repeats


def _repeated_tokens(
    table: pa.Table, preceding: _Preceding, *, total_tokens: int, recipe: SelectionRecipe
) -> pa.Table:
    """The tokens of a partition with the percentiles' repeats."""
    tokens = _in_order(table)["num_tokens"].to_numpy()
    repeats = _percentile_repeats(_percentiles(tokens, preceding, total_tokens), recipe)
    return pa.table([[int((tokens * repeats).sum())]], schema=_REPEATED)


def _ranked(
    table: pa.Table,
    preceding: _Preceding,
    *,
    total_tokens: int,
    budget: LanguageBudget,
    shard_rows: int,
) -> pa.Table:
    """Rows of SELECTION in order, and the shard of each."""
    documents = _in_order(table)
    tokens = documents["num_tokens"].to_numpy()
    percentiles = _percentiles(tokens, preceding, total_tokens)
    repeats = _percentile_repeats(percentiles, budget.recipe)
    if budget.recipe.fill == "budget":
        repeated = tokens * repeats
        before = preceding.repeated_tokens + np.cumsum(repeated) - repeated
        missing = np.maximum(0, budget.budget_tokens - before)
        # The last document is repeated just often enough.
        repeats = np.minimum(repeats, np.ceil(missing / np.maximum(1, tokens)).astype(np.int64))
    if not budget.is_selected:
        repeats = np.zeros_like(repeats)
    ranks = preceding.rows + np.arange(len(tokens))
    ranked = documents.with_columns(
        percentile=percentiles, repeats=repeats, shard=ranks // shard_rows
    )
    return ranked.select(_RANKED.names).to_arrow().cast(_RANKED)


def _put_shard(rows: pa.Table, index: int, *, folder: str, table: str) -> pa.Table:
    shards.put_table(folder, table, index, rows, SELECTION)
    tokens, repeats = rows["num_tokens"].to_numpy(), rows["repeats"].to_numpy()
    selected = pl.DataFrame(rows.select(["logit", "repeats"])).filter(pl.col("repeats") > 0)
    values = (
        rows.num_rows,
        selected.height,
        int((tokens * repeats).sum()),
        int(tokens[repeats > 0].sum()),
        selected["logit"].min(),
    )
    return pa.table([[value] for value in values], schema=_WRITTEN)
