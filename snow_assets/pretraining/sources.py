"""What each phase may read: documents of a language, and in how many passes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.kept import decisions, kept_documents
from snow_assets.documents import DECISION, SELECTION

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
class Supply:
    """One language's documents; `read` streams COLUMNS and `passes` in the same order each time.

    A document is in the passes 0 to `passes` - 1. `pass_tokens` counts each pass's tokens, with
    one more for each document's END_OF_TEXT.
    """

    language: str
    num_documents: int
    unique_tokens: int
    pass_tokens: Sequence[int]
    read: Callable[[], Iterator[pa.RecordBatch]]


def whole_corpus(clean_folders: Sequence[str], *, max_passes: int) -> list[Supply]:
    """The general phase: every kept training document of every language, as often as allowed."""
    return [_whole_language(folder, max_passes) for folder in clean_folders]


def _whole_language(clean_folder: str, max_passes: int) -> Supply:
    def read() -> Iterator[pa.RecordBatch]:
        for batch in kept_documents(clean_folder, columns=COLUMNS):
            yield _with_passes(batch, pa.array([max_passes] * batch.num_rows, pa.int32()))

    num_tokens = _trainable(clean_folder)["num_tokens"]
    unique = _with_separators(num_tokens)
    return Supply(
        language=shards.manifest(clean_folder).partition,
        num_documents=len(num_tokens),
        unique_tokens=unique,
        pass_tokens=[unique] * max_passes,
        read=read,
    )


def selected_corpus(
    clean_folders: Sequence[str], subset_folders: Sequence[str], *, max_passes: int
) -> list[Supply]:
    """The continued phase: the selected documents, each in as many passes as its repeats."""
    subsets = {shards.manifest(folder).partition: folder for folder in subset_folders}
    clean = {shards.manifest(folder).partition: folder for folder in clean_folders}
    lost = sorted(set(subsets) - set(clean))
    if lost:
        raise ValueError(
            f"high_quality_subset has {lost}, and clean_corpus has only {sorted(clean)}"
        )
    return [_selected_language(clean[name], subsets[name], max_passes) for name in sorted(subsets)]


def _selected_language(clean_folder: str, subset_folder: str, max_passes: int) -> Supply:
    is_empty = not shards.manifest(subset_folder).tables("documents")
    selection = SELECTION.empty_table() if is_empty else shards.read(subset_folder, "documents")
    chosen = selection.filter(pc.greater(selection["repeats"], 0))
    most = pc.max(chosen["repeats"]).as_py() or 0
    if most > max_passes:
        raise ValueError(
            f"{subset_folder} repeats a document {most} times, and the phase's max_passes is "
            f"{max_passes}: lower the selection's repeats or raise max_passes"
        )
    repeats = dict(
        zip(chosen["document_id"].to_pylist(), chosen["repeats"].to_pylist(), strict=True)
    )

    def read() -> Iterator[pa.RecordBatch]:
        for batch in kept_documents(clean_folder, columns=COLUMNS):
            passes = [repeats.get(name, 0) for name in batch["document_id"].to_pylist()]
            made = _with_passes(batch, pa.array(passes, pa.int32()))
            yield made.filter(pc.greater(made["passes"], 0))

    trainable = _trainable(clean_folder)
    names = trainable["document_id"].to_pylist()
    unknown = set(repeats).difference(names)
    if unknown:
        raise ValueError(
            f"{subset_folder} selects {len(unknown)} documents that {clean_folder} does not keep "
            f"for training, {min(unknown)} for one: materialize high_quality_subset again"
        )
    passes = pa.array([repeats.get(name, 0) for name in names], pa.int32())
    by_pass = [trainable.filter(pc.greater(passes, index))["num_tokens"] for index in range(most)]
    return Supply(
        language=shards.manifest(clean_folder).partition,
        num_documents=len(repeats),
        unique_tokens=_with_separators(by_pass[0]) if by_pass else 0,
        pass_tokens=[_with_separators(num_tokens) for num_tokens in by_pass],
        read=read,
    )


def synthetic_corpus(synthetic_folder: str, *, max_passes: int) -> list[Supply]:
    """The enhanced phase: every accepted synthetic file; its repository is its seed's."""
    counted = shards.read(synthetic_folder, "documents", columns=["language", "num_tokens"])
    languages = sorted(set(counted["language"].to_pylist()))
    return [_synthetic_language(synthetic_folder, name, counted, max_passes) for name in languages]


def _synthetic_language(folder: str, language: str, counted: pa.Table, max_passes: int) -> Supply:
    def read() -> Iterator[pa.RecordBatch]:
        for batch in shards.batches(folder, "documents", rows=256):
            own = batch.filter(pc.equal(batch["language"], language))
            named = {
                "repository": own["seed_repository"],
                "license": own["seed_license"],
                "path": own["document_id"],
            }
            columns = [named[name] if name in named else own[name] for name in COLUMNS]
            made = pa.RecordBatch.from_arrays(columns, names=list(COLUMNS))
            yield _with_passes(made, pa.array([max_passes] * own.num_rows, pa.int32()))

    num_tokens = counted.filter(pc.equal(counted["language"], language))["num_tokens"]
    unique = _with_separators(num_tokens)
    return Supply(
        language=language,
        num_documents=len(num_tokens),
        unique_tokens=unique,
        pass_tokens=[unique] * max_passes,
        read=read,
    )


def _trainable(clean_folder: str) -> pa.Table:
    is_empty = not shards.manifest(clean_folder).tables("decisions")
    decided = DECISION.empty_table() if is_empty else decisions(clean_folder)
    found = decided.select(["document_id", "kept", "split", "num_tokens"])
    is_train = pc.fill_null(pc.equal(found["split"], "train"), False)
    return found.filter(pc.and_(found["kept"], is_train))


def _with_separators(num_tokens: pa.ChunkedArray) -> int:
    return int(pc.sum(num_tokens).as_py() or 0) + len(num_tokens)


def _with_passes(batch: pa.RecordBatch, passes: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [*batch.columns, passes], names=[*batch.schema.names, "passes"]
    )
