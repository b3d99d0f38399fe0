"""Gates before packing and training: held-out documents, contamination, damaged packs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.curation.decontamination.exemptions import exempt_document_ids
from snow_assets.curation.decontamination.gate import assert_uncontaminated
from snow_assets.curation.split import assert_no_held_out
from snow_assets.pretraining.packs import decoded_documents, validate_packs
from snow_assets.pretraining.sources import LanguageSource
from snow_assets.recipe import ContaminationExemption
from snow_assets.storage import shards


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """Problems to search for, and how many consecutive normalised tokens are contamination."""

    problems: pa.Table
    window_tokens: int
    exemptions: Sequence[ContaminationExemption] = ()


def assert_trainable_documents(
    sources: Sequence[LanguageSource],
    clean_folders: Sequence[str],
    benchmarks: Benchmarks,
    *,
    synthetic_folders: Sequence[str] = (),
) -> None:
    """Raise ValueError if a document to pack, or a synthetic one's seed, is held out, or if one is
    contaminated.
    """
    batches = (batch for source in sources for batch in source.read(["document_id"]))
    id_chunks = [batch["document_id"] for batch in batches]
    document_ids = pl.Series(pa.chunked_array(id_chunks, pa.string()))
    assert_no_held_out(_with_seeds(document_ids, synthetic_folders), clean_folders)
    _assert_uncontaminated(_texts(sources), benchmarks, clean_folders)


def assert_trainable_packs(
    packs: str,
    tokenizer: Tokenizer,
    clean_folders: Sequence[str],
    benchmarks: Benchmarks,
    *,
    tokens: int,
    max_seq_len: int,
) -> None:
    """Raise ValueError on violations of `validate_packs`, held-out documents, or contamination.

    Contamination is searched in the decoded sequences, so errors of the packing itself are found.
    """
    violations = validate_packs(packs, tokens=tokens, max_seq_len=max_seq_len)
    if violations:
        raise ValueError(f"{packs} cannot be trained on: {'; '.join(violations)}; pack it again")
    assert_packs_not_held_out(packs, clean_folders)
    _assert_uncontaminated(decoded_documents(packs, tokenizer), benchmarks, clean_folders)


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


def _texts(sources: Sequence[LanguageSource]) -> Iterator[tuple[str, str]]:
    for source in sources:
        for batch in source.read():
            yield from zip(batch["document_id"].to_pylist(), batch["text"].to_pylist(), strict=True)


def _assert_uncontaminated(
    texts: Iterator[tuple[str, str]], benchmarks: Benchmarks, clean_folders: Sequence[str]
) -> None:
    assert_uncontaminated(
        texts,
        benchmarks.problems,
        window_tokens=benchmarks.window_tokens,
        exempt=exempt_document_ids(clean_folders, benchmarks.exemptions),
    )
