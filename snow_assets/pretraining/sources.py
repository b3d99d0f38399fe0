"""Training documents of a phase, by language, with the number of passes over each."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.kept import kept_documents, kept_rows
from snow_assets.quality.selection import read_selected, selected_totals
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.storage import shards

COLUMNS = (
    "document_id",
    "text_id",
    "repository",
    "path",
    "license",
    "num_tokens",
    "text",
)


@dataclass(frozen=True, kw_only=True)
class LanguageSource:
    """One language's documents; `read` streams COLUMNS, or those that it is given, and `passes`,
    in a stable order.

    A document is part of the passes 0 to `passes` - 1. `pass_tokens` counts each pass's tokens,
    with one more for each document's END_OF_TEXT.
    """

    language: str
    num_documents: int
    unique_tokens: int
    pass_tokens: Sequence[int]
    read: Callable[..., Iterator[pa.RecordBatch]]


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
        read=lambda *columns: itertools.chain.from_iterable(part.read(*columns) for part in parts),
    )


def clean_sources(clean_folders: Sequence[str], *, max_passes: int) -> list[LanguageSource]:
    """Sources of all clean text: every kept training document, in `max_passes` passes."""
    return [_clean_source(folder, max_passes) for folder in clean_folders]


def _clean_source(clean_folder: str, max_passes: int) -> LanguageSource:
    def read(columns: Sequence[str] = COLUMNS) -> Iterator[pa.RecordBatch]:
        for batch in kept_documents(clean_folder, columns=columns):
            yield _with_passes(batch, max_passes)

    num_tokens = kept_rows(clean_folder, ["num_tokens"])["num_tokens"]
    unique = _tokens_with_separators(num_tokens)
    return LanguageSource(
        language=shards.manifest(clean_folder).partition,
        num_documents=len(num_tokens),
        unique_tokens=unique,
        pass_tokens=[unique] * max_passes,
        read=read,
    )


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

    def read(columns: Sequence[str] = COLUMNS) -> Iterator[pa.RecordBatch]:
        selected = read_selected(subset_folder).rename({"repeats": "passes"})
        return kept_documents(clean_folder, columns=columns, matching=selected)

    pass_tokens = [
        sum(
            totals.num_tokens[repeats] + num_documents
            for repeats, num_documents in totals.num_documents.items()
            if repeats > index
        )
        for index in range(totals.max_repeats)
    ]
    return LanguageSource(
        language=shards.manifest(clean_folder).partition,
        num_documents=sum(totals.num_documents.values()),
        unique_tokens=pass_tokens[0] if pass_tokens else 0,
        pass_tokens=pass_tokens,
        read=read,
    )


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
    def read(columns: Sequence[str] = COLUMNS) -> Iterator[pa.RecordBatch]:
        for batch in shards.batches(folder, "documents", rows=256):
            of_language = batch.filter(pc.equal(batch["language"], language))
            renamed = {
                "repository": of_language["seed_repository"],
                "license": of_language["seed_license"],
                "path": of_language["document_id"],
            }
            arrays = [renamed[name] if name in renamed else of_language[name] for name in columns]
            renamed_batch = pa.RecordBatch.from_arrays(arrays, names=list(columns))
            yield _with_passes(renamed_batch, max_passes)

    unique = _tokens_with_separators(num_tokens)
    return LanguageSource(
        language=language,
        num_documents=len(num_tokens),
        unique_tokens=unique,
        pass_tokens=[unique] * max_passes,
        read=read,
    )


def _tokens_with_separators(num_tokens: pl.Series) -> int:
    return int(num_tokens.sum()) + len(num_tokens)


def _with_passes(batch: pa.RecordBatch, passes: int) -> pa.RecordBatch:
    return batch.append_column("passes", pa.repeat(pa.scalar(passes, pa.int32()), batch.num_rows))
