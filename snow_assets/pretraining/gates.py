"""What packs and checkpoints refuse, each by its own reading of what it was given."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import Tokenizer

from snow_assets import shards
from snow_assets.curation.exemptions import exempt_document_ids
from snow_assets.curation.leaks import refuse_leaks
from snow_assets.curation.split import assert_no_held_out
from snow_assets.pretraining.packs import decoded_documents, flaws
from snow_assets.pretraining.sources import Supply
from snow_assets.recipe import ContaminationExemption


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """What must not leak: problems, and how many normalised tokens in a row are a leak."""

    problems: pa.Table
    window_tokens: int
    exemptions: Sequence[ContaminationExemption] = ()


def refuse_documents(
    supplies: Sequence[Supply], clean_folders: Sequence[str], benchmarks: Benchmarks
) -> None:
    """Raise where a document that is to be packed is held out, or leaks a benchmark problem."""
    assert_no_held_out(_ids(supplies), clean_folders)
    _refuse_leaks(_texts(supplies), benchmarks, clean_folders)


def refuse_synthetic_documents(
    supplies: Sequence[Supply],
    synthetic_folder: str,
    clean_folders: Sequence[str],
    benchmarks: Benchmarks,
) -> None:
    """Raise where a synthetic file's seed is held out, or the file leaks a benchmark problem."""
    seeds = shards.read(synthetic_folder, "documents", columns=["seed_document_id"])
    assert_no_held_out(pc.unique(seeds["seed_document_id"]).to_pylist(), clean_folders)
    _refuse_leaks(_texts(supplies), benchmarks, clean_folders)


def refuse_packs(
    packs: str,
    tokenizer: Tokenizer,
    clean_folders: Sequence[str],
    benchmarks: Benchmarks,
    *,
    tokens: int,
    context_tokens: int,
) -> None:
    """Raise where packs do not hold the phase's exact tokens, with spans that account for each
    one, or where what their sequences decode to leaks a benchmark problem.

    Reads the tokens themselves: what went wrong behind the packs' own gate stops here.
    """
    found = flaws(packs, tokens=tokens, context_tokens=context_tokens)
    if found:
        raise ValueError(f"{packs} cannot be trained on: {'; '.join(found)}; pack it again")
    refuse_held_out(packs, clean_folders)
    _refuse_leaks(decoded_documents(packs, tokenizer), benchmarks, clean_folders)


def refuse_held_out(packs: str, clean_folders: Sequence[str]) -> None:
    """Raise where spans of packs name a held-out document or a near copy of one.

    Of synthetic files, whose ids no clean corpus knows, the seeds count.
    """
    spans = shards.read(packs, "spans", columns=["document_id"])
    named = set(pc.unique(spans["document_id"]).to_pylist())
    for folder in shards.input_folders(packs, "synthetic_set"):
        made = shards.read(folder, "documents", columns=["document_id", "seed_document_id"])
        columns = made["document_id"].to_pylist(), made["seed_document_id"].to_pylist()
        seed_of = dict(zip(*columns, strict=True))
        named = {seed_of.get(name, name) for name in named}
    assert_no_held_out(named, clean_folders)


def _ids(supplies: Sequence[Supply]) -> Iterator[str]:
    for supply in supplies:
        for batch in supply.read():
            yield from batch["document_id"].to_pylist()


def _texts(supplies: Sequence[Supply]) -> Iterator[tuple[str, str]]:
    for supply in supplies:
        for batch in supply.read():
            yield from zip(batch["document_id"].to_pylist(), batch["text"].to_pylist(), strict=True)


def _refuse_leaks(
    texts: Iterator[tuple[str, str]], benchmarks: Benchmarks, clean_folders: Sequence[str]
) -> None:
    refuse_leaks(
        texts,
        benchmarks.problems,
        window_tokens=benchmarks.window_tokens,
        exempt=exempt_document_ids(clean_folders, benchmarks.exemptions),
    )
