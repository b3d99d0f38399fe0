"""Gates before packing and training: held-out documents, contamination, damaged packs.

Documents to pack are compared with the held-out ones by id. Their texts are searched for leaks
once, as they stand in the packs (`leaks`), before these are finished; training compares the stored
result's record with the files that it is about to read.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import polars as pl
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.curation.decontamination.exemptions import exempt_document_ids
from snow_assets.curation.decontamination.gate import raise_if_contaminated
from snow_assets.curation.held_out import DOCUMENT_IDS, assert_no_held_out
from snow_assets.pretraining.leaks import (
    LEAKS,
    SPANS,
    SharedGate,
    leaks_stats,
    search_packs,
    shard_files,
)
from snow_assets.pretraining.packs import size_violations
from snow_assets.pretraining.sources import LanguageSource, ReadShard
from snow_assets.recipe import ContaminationExemption
from snow_assets.runtime.exchange.contract import Exchange, ShardMap
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.partitions import by_id
from snow_assets.storage import shards
from snow_assets.storage.shards import FileRecord

_SEEDS = pa.schema([(name, pa.string()) for name in ("document_id", "seed_document_id")])
_ROW_BYTES = 150  # two ids


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """Problems to search for, and how many consecutive normalised tokens are contamination."""

    problems: pa.Table
    window_tokens: int
    exemptions: Sequence[ContaminationExemption] = ()

    @property
    def digest(self) -> str:
        """Of all that decides over a search's result, beside the texts."""
        problems = self.problems.select(["problem_id", "prompt", "solution"]).to_pylist()
        exemptions = [asdict(exemption) for exemption in self.exemptions]
        content = json.dumps([problems, self.window_tokens, exemptions], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def assert_trainable_documents(
    sources: Sequence[LanguageSource],
    clean_folders: Sequence[str],
    *,
    synthetic_folders: Sequence[str] = (),
    exchange: Exchange = IN_PROCESS,
) -> None:
    """Raise ValueError if a document to pack, or a synthetic one's seed, is held out."""
    document_ids = exchange.map_shards(
        _source_ids,
        [read_shard for source in sources for read_shard in source.shards],
        schema=DOCUMENT_IDS,
    )
    num_documents = sum(source.num_documents for source in sources)
    _assert_no_held_out(document_ids, num_documents, clean_folders, synthetic_folders, exchange)


def search_for_leaks(
    packs: str,
    tokenizer: Tokenizer,
    clean_folders: Sequence[str],
    benchmarks: Benchmarks,
    *,
    exchange: Exchange = IN_PROCESS,
) -> None:
    """Search packs that are not finished yet, and store the result in them.

    ContaminatedError, with document and evidence, if they hold a problem that is not exempt; then
    they must not be finished.
    """
    raise_if_contaminated(
        search_packs(
            packs,
            tokenizer,
            SharedGate(benchmarks.problems, benchmarks.window_tokens),
            searched_for=benchmarks.digest,
            exempt=exempt_document_ids(clean_folders, benchmarks.exemptions),
            exchange=exchange,
        )
    )


def assert_trainable_packs(
    packs: str, benchmarks: Benchmarks, *, tokens: int, max_seq_len: int
) -> None:
    """Raise ValueError if packs have another size, or were not searched for these problems as they
    are. Reads the manifest alone."""
    violations = size_violations(packs, tokens=tokens, max_seq_len=max_seq_len)
    violations += _unsearched(packs, benchmarks)
    if violations:
        raise ValueError(f"{packs} cannot be trained on: {'; '.join(violations)}; pack it again")


def _unsearched(packs: str, benchmarks: Benchmarks) -> list[str]:
    """The shards of tokens that were not searched for these problems."""
    manifest = shards.manifest(packs)
    results = {entry.name: entry.stats for entry in manifest.tables(LEAKS)}
    digest = benchmarks.digest
    return [
        f"{shard.tokens.name} was not searched for these benchmark problems"
        for shard in shard_files(manifest.files)
        if results.get(shards.table_name(LEAKS, shard.index)) != leaks_stats(shard, digest)
    ]


def assert_packs_not_held_out(
    packs: str, clean_folders: Sequence[str], *, exchange: Exchange = IN_PROCESS
) -> None:
    """Raise ValueError if spans of packs name a held-out document or a near duplicate of one.

    A synthetic file, whose id is in no clean corpus, is replaced by its seed document.
    """
    entries = shards.manifest(packs).tables(SPANS)
    document_ids = exchange.map_shards(_span_ids, entries, schema=DOCUMENT_IDS, packs=packs)
    synthetic_folders = shards.input_folders(packs, "synthetic_set")
    num_documents = entries.total("num_rows")
    _assert_no_held_out(document_ids, num_documents, clean_folders, synthetic_folders, exchange)


def _assert_no_held_out(
    document_ids: ShardMap,
    num_documents: int,
    clean_folders: Sequence[str],
    synthetic_folders: Sequence[str],
    exchange: Exchange,
) -> None:
    """Of the documents, each synthetic one replaced by its seed."""
    synthetic_shards = [
        (folder, entry)
        for folder in synthetic_folders
        for entry in shards.manifest(folder).tables("documents")
    ]
    if synthetic_shards:
        num_rows = num_documents + sum(entry.num_rows or 0 for _, entry in synthetic_shards)
        documents, seeds = by_id(
            exchange,
            document_ids,
            exchange.map_shards(_seeds, synthetic_shards, schema=_SEEDS),
            column="document_id",
            num_bytes=num_rows * _ROW_BYTES,
        )
        document_ids = exchange.map_shards(_with_seeds, documents, seeds, schema=DOCUMENT_IDS)
    assert_no_held_out(document_ids, clean_folders, num_documents=num_documents, exchange=exchange)


def _source_ids(read_shard: ReadShard) -> pa.Table:
    return read_shard(DOCUMENT_IDS.names).select(DOCUMENT_IDS.names).cast(DOCUMENT_IDS)


def _span_ids(entry: FileRecord, *, packs: str) -> pa.Table:
    spans = pl.DataFrame(shards.read_shard(packs, entry.name, columns=DOCUMENT_IDS.names))
    return spans.unique().to_arrow().cast(DOCUMENT_IDS)


def _seeds(synthetic_shard: tuple[str, FileRecord]) -> pa.Table:
    folder, entry = synthetic_shard
    return shards.read_shard(folder, entry.name, columns=_SEEDS.names).cast(_SEEDS)


def _with_seeds(document_ids: pa.Table, seeds: pa.Table) -> pa.Table:
    """The ids, each synthetic document's replaced by its seed's."""
    joined = pl.DataFrame(document_ids).join(pl.DataFrame(seeds), on="document_id", how="left")
    replaced = joined.select(document_id=pl.coalesce("seed_document_id", "document_id"))
    return replaced.to_arrow().cast(DOCUMENT_IDS)
