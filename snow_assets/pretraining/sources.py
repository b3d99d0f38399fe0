"""Training documents of a phase, by language, with the number of passes over each."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.kept import kept_shard
from snow_assets.quality.selection import selected_rows, selected_totals
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.storage import shards
from snow_assets.storage.shards import FileRecord

COLUMNS = (
    "document_id",
    "text_id",
    "repository",
    "path",
    "license",
    "num_tokens",
    "text",
)


ReadShard = Callable[[Sequence[str]], pa.Table]
"""Of a shard of documents, columns of COLUMNS by name, and `passes`; can be pickled."""


_TOTALS = pa.schema([("num_documents", pa.int64()), ("num_tokens", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class LanguageSource:
    """One language's documents, in shards, in a stable order.

    A document is part of the passes 0 to `passes` - 1. `pass_tokens` counts each pass's tokens,
    with one more for each document's END_OF_TEXT.
    """

    language: str
    num_documents: int
    unique_tokens: int
    pass_tokens: Sequence[int]
    shards: Sequence[ReadShard]


def mixed_sources(sources: Iterable[LanguageSource]) -> list[LanguageSource]:
    """One source per language, in name order; its pass i is pass i of the language's sources."""
    by_language: dict[str, list[LanguageSource]] = {}
    for source in sources:
        by_language.setdefault(source.language, []).append(source)
    return [_mixed_source(parts) for _, parts in sorted(by_language.items())]


def _mixed_source(parts: Sequence[LanguageSource]) -> LanguageSource:
    passes = itertools.zip_longest(*(part.pass_tokens for part in parts), fillvalue=0)
    return LanguageSource(
        language=parts[0].language,
        num_documents=sum(part.num_documents for part in parts),
        unique_tokens=sum(part.unique_tokens for part in parts),
        pass_tokens=[sum(tokens) for tokens in passes],
        shards=[read_shard for part in parts for read_shard in part.shards],
    )


def clean_sources(
    clean_folders: Sequence[str], *, max_passes: int, exchange: Exchange = IN_PROCESS
) -> list[LanguageSource]:
    """Sources of all clean text: every kept training document, in `max_passes` passes."""
    return [_clean_source(folder, max_passes, exchange) for folder in clean_folders]


def _clean_source(clean_folder: str, max_passes: int, exchange: Exchange) -> LanguageSource:
    manifest = shards.manifest(clean_folder)
    read_shards = [
        partial(_clean_shard, clean_folder=clean_folder, entry=entry, max_passes=max_passes)
        for entry in manifest.tables("decisions")
    ]
    counted = exchange.map_shards(_totals, read_shards, schema=_TOTALS)
    totals = pl.DataFrame(pa.concat_tables([_TOTALS.empty_table(), *exchange.gather(counted)]))
    num_documents, num_tokens = (int(totals[name].sum()) for name in _TOTALS.names)
    return LanguageSource(
        language=manifest.partition,
        num_documents=num_documents,
        unique_tokens=num_tokens + num_documents,
        pass_tokens=[num_tokens + num_documents] * max_passes,
        shards=read_shards,
    )


def _totals(read_shard: ReadShard) -> pa.Table:
    num_tokens = pl.Series(read_shard(["num_tokens"])["num_tokens"])
    return pa.table([[len(num_tokens)], [int(num_tokens.sum())]], schema=_TOTALS)


def _clean_shard(
    columns: Sequence[str], *, clean_folder: str, entry: FileRecord, max_passes: int
) -> pa.Table:
    return _with_passes(kept_shard(clean_folder, entry, columns), max_passes)


def high_quality_sources(
    clean_folders: Sequence[str],
    subset_folders: Sequence[str],
    *,
    max_passes: int,
    exchange: Exchange = IN_PROCESS,
) -> list[LanguageSource]:
    """Sources of the high-quality subset: its documents, each in as many passes as its repeats.

    ValueError if a language has a subset and no clean corpus, a subset does not match its corpus,
    or a document repeats more than `max_passes` times.
    """
    subsets = {shards.manifest(folder).partition: folder for folder in subset_folders}
    clean = {shards.manifest(folder).partition: folder for folder in clean_folders}
    without_corpus = sorted(set(subsets) - set(clean))
    if without_corpus:
        raise ValueError(
            f"high_quality_subset has {without_corpus}, and clean_corpus has only {sorted(clean)}"
        )
    return [
        _subset_source(clean[name], subsets[name], max_passes, exchange) for name in sorted(subsets)
    ]


def _subset_source(
    clean_folder: str, subset_folder: str, max_passes: int, exchange: Exchange
) -> LanguageSource:
    totals = selected_totals(clean_folder, subset_folder, exchange=exchange)
    if totals.max_repeats > max_passes:
        raise ValueError(
            f"{subset_folder} repeats a document {totals.max_repeats} times, and the phase's "
            f"max_passes is {max_passes}: lower the selection's repeats or raise max_passes"
        )
    if totals.num_not_trainable:
        raise ValueError(
            f"{subset_folder} selects {totals.num_not_trainable} documents that {clean_folder} "
            f"does not keep for training, {totals.first_not_trainable} for one: materialize "
            "high_quality_subset again"
        )

    documents = selected_rows(clean_folder, subset_folder, exchange=exchange).rename(
        {"repeats": "passes"}
    )
    pass_tokens = [
        sum(
            totals.num_tokens[repeats] + num_documents
            for repeats, num_documents in totals.num_documents.items()
            if repeats > index
        )
        for index in range(totals.max_repeats)
    ]
    manifest = shards.manifest(clean_folder)
    entries = manifest.tables("decisions")
    return LanguageSource(
        language=manifest.partition,
        num_documents=sum(totals.num_documents.values()),
        unique_tokens=pass_tokens[0] if pass_tokens else 0,
        pass_tokens=pass_tokens,
        shards=[
            partial(
                _subset_shard,
                clean_folder=clean_folder,
                entry=entries[rows["shard"][0]],
                chosen=rows.select("row", "passes"),
            )
            for rows in documents.partition_by("shard")
        ],
    )


def _subset_shard(
    columns: Sequence[str], *, clean_folder: str, entry: FileRecord, chosen: pl.DataFrame
) -> pa.Table:
    """`chosen` documents of a shard: `row`, ascending, and `passes`."""
    table = kept_shard(clean_folder, entry, columns, chosen=chosen)
    return table.append_column("passes", chosen["passes"].cast(pl.Int32).to_arrow())


def synthetic_sources(synthetic_folder: str, *, max_passes: int) -> list[LanguageSource]:
    """Sources of accepted synthetic files, each in the repository of its seed."""
    table = shards.read(synthetic_folder, "documents", columns=["language", "num_tokens"])
    documents = pl.DataFrame(table).partition_by("language", as_dict=True)
    return [
        _synthetic_source(synthetic_folder, str(language), rows["num_tokens"], max_passes)
        for (language,), rows in sorted(documents.items())
    ]


def _synthetic_source(
    folder: str, language: str, num_tokens: pl.Series, max_passes: int
) -> LanguageSource:
    unique = _tokens_with_separators(num_tokens)
    return LanguageSource(
        language=language,
        num_documents=len(num_tokens),
        unique_tokens=unique,
        pass_tokens=[unique] * max_passes,
        shards=[
            partial(
                _synthetic_shard,
                folder=folder,
                name=entry.name,
                language=language,
                max_passes=max_passes,
            )
            for entry in shards.manifest(folder).tables("documents")
        ],
    )


_SYNTHETIC_COLUMNS = {
    "repository": "seed_repository",
    "license": "seed_license",
    "path": "document_id",
}


def _synthetic_shard(
    columns: Sequence[str], *, folder: str, name: str, language: str, max_passes: int
) -> pa.Table:
    stored = [_SYNTHETIC_COLUMNS.get(column, column) for column in columns]
    table = shards.read_shard(folder, name, columns=list(dict.fromkeys((*stored, "language"))))
    of_language = table.filter(pc.equal(table["language"], language))
    renamed = pa.table([of_language[column] for column in stored], names=list(columns))
    return _with_passes(renamed, max_passes)


def _tokens_with_separators(num_tokens: pl.Series) -> int:
    return int(num_tokens.sum()) + len(num_tokens)


def _with_passes(table: pa.Table, passes: int) -> pa.Table:
    return table.append_column("passes", pa.repeat(pa.scalar(passes, pa.int32()), table.num_rows))
