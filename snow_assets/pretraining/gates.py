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
from snow_assets.curation.split import assert_no_held_out
from snow_assets.pretraining.leaks import (
    LEAKS,
    SharedGate,
    leaks_stats,
    search_packs,
    shard_files,
)
from snow_assets.pretraining.packs import size_violations
from snow_assets.pretraining.sources import LanguageSource
from snow_assets.recipe import ContaminationExemption
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.storage import shards


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
) -> None:
    """Raise ValueError if a document to pack, or a synthetic one's seed, is held out."""
    batches = (batch for source in sources for batch in source.read(["document_id"]))
    id_chunks = [batch["document_id"] for batch in batches]
    document_ids = pl.Series(pa.chunked_array(id_chunks, pa.string()))
    assert_no_held_out(_with_seeds(document_ids, synthetic_folders), clean_folders)


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


def assert_packs_not_held_out(packs: str, clean_folders: Sequence[str]) -> None:
    """Raise ValueError if spans of packs name a held-out document or a near duplicate of one.

    A synthetic file, whose id is in no clean corpus, is replaced by its seed document.
    """
    document_ids = pl.Series(shards.read(packs, "spans", columns=["document_id"])["document_id"])
    synthetic_folders = shards.input_folders(packs, "synthetic_set")
    assert_no_held_out(_with_seeds(document_ids, synthetic_folders), clean_folders)


def _with_seeds(document_ids: pl.Series, synthetic_folders: Sequence[str]) -> pl.Series:
    """The distinct ids, each synthetic document's replaced by its seed's."""
    documents = document_ids.unique().to_frame("document_id")
    for folder in synthetic_folders:
        columns = ["document_id", "seed_document_id"]
        synthetic = pl.DataFrame(shards.read(folder, "documents", columns=columns))
        documents = documents.join(synthetic, on="document_id", how="left").select(
            document_id=pl.coalesce("seed_document_id", "document_id")
        )
    return documents["document_id"]
