"""Detect benchmark contamination in documents, with evidence.

Three matchers: StarCoder2's (arXiv 2402.19173, section 3.5: a problem's docstring or solution as a
substring without white space, here in lower case as in StarCoder); word n-grams of descriptions
and solutions; and the rule of the gate before packing (`renamed_identifiers`: programs with renamed
identifiers, descriptions word by word), so that such documents are dropped here and do not stop a
run later.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.columns import buffers, replace_values
from snow_assets.curation.decontamination.problem_texts import docstrings
from snow_assets.curation.document_shards import DocumentShard, document_shards
from snow_assets.curation.hashing import (
    Hashes,
    HashSet,
    ngram_hashes,
    span_hashes,
    window_hashes,
    word_spans,
)
from snow_assets.recipe import ContaminationRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.shard_work import missing_shards, write_shards
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import CONTAMINATION

if TYPE_CHECKING:
    from snow_assets.curation.decontamination.prefilter_kernels import PrefilterMasks
    from snow_assets.curation.decontamination.renamed_identifiers import RenamedIndex

_EVIDENCE_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Hit:
    problem_id: str
    method: str  # substring, ngram, renamed or description
    evidence: str  # the matching excerpt of the document


@dataclass(frozen=True, kw_only=True)
class ProblemIndex:
    """An index of problems for matching. Memory: a number per character and word of them."""

    needles: Sequence[tuple[str, str]]  # problem and text without white space, in lower case
    needle_keys: HashSet  # of the needles' first windows
    needles_of: Mapping[int, Sequence[int]]  # by key
    ngrams: HashSet
    ngram_problems: Sequence[str]  # of each n-gram, in the set's order
    texts: Sequence[str]  # descriptions and solutions
    renamed: "RenamedIndex"
    recipe: ContaminationRecipe


def index_problems(problems: pa.Table, *, recipe: ContaminationRecipe) -> ProblemIndex:
    """Index the descriptions and solutions of a `problems` table."""
    # Imported lazily: the Dagster definitions load without compiled kernels.
    from snow_assets.curation.decontamination.renamed_identifiers import RenamedIndex

    needles: list[tuple[str, str]] = []
    ngrams: dict[int, str] = {}
    texts: list[str] = []
    columns = problems.select(["problem_id", "prompt", "solution"]).to_pylist()
    for row in sorted(columns, key=lambda row: str(row["problem_id"])):
        for text in [*docstrings(row["prompt"]), row["solution"]]:
            texts.append(text)
            stripped = _strip_spaces(text).lower()
            if len(stripped) >= recipe.min_substring_chars:
                needles.append((row["problem_id"], stripped))
            hashes, _, _ = _ngrams(text, recipe)
            for hashed in hashes.tolist():
                ngrams.setdefault(hashed, row["problem_id"])
    needles_of: dict[int, list[int]] = {}
    for index, (_, text) in enumerate(needles):
        key = window_hashes(text.encode()[: recipe.min_substring_chars], recipe.min_substring_chars)
        needles_of.setdefault(int(key[0]), []).append(index)
    return ProblemIndex(
        needles=needles,
        needle_keys=HashSet.of(needles_of),
        needles_of=needles_of,
        ngrams=HashSet.of(ngrams),
        ngram_problems=[ngrams[hashed] for hashed in sorted(ngrams)],
        texts=texts,
        renamed=RenamedIndex.of(problems, window=recipe.gate_window_tokens),
        recipe=recipe,
    )


def hits(
    text: str, index: ProblemIndex, *, check_overlap: bool = True, check_gate: bool = True
) -> list[Hit]:
    """Benchmark problems in a text, once per problem and method.

    `check_overlap`, `check_gate`: the matchers to apply, from the prefilter's masks.
    """
    hits_by_key: dict[tuple[str, str], Hit] = {}
    if check_overlap:
        for hit in (*_substring_hits(text, index), *_ngram_hits(text, index)):
            hits_by_key.setdefault((hit.problem_id, hit.method), hit)
    if check_gate:
        for problem_id, method, evidence in index.renamed.hits(text):
            hit = Hit(problem_id=problem_id, method=method, evidence=evidence)
            hits_by_key.setdefault((problem_id, method), hit)
    return [hits_by_key[key] for key in sorted(hits_by_key)]


def _strip_spaces(text: str) -> str:
    return "".join(text.split())


def _substring_hits(text: str, index: ProblemIndex) -> Iterator[Hit]:
    stripped = _strip_spaces(text).lower()
    windows = window_hashes(stripped.encode(), index.recipe.min_substring_chars)
    # A text that contains a needle contains the needle's first window.
    keys = {int(windows[window]) for window in index.needle_keys.indices_in(windows)}
    for needle in sorted(needle for key in keys for needle in index.needles_of[key]):
        problem_id, needle_text = index.needles[needle]
        if needle_text in stripped:
            evidence = needle_text[:_EVIDENCE_CHARS]
            yield Hit(problem_id=problem_id, method="substring", evidence=evidence)


def _ngram_hits(text: str, index: ProblemIndex) -> Iterator[Hit]:
    hashes, starts, ends = _ngrams(text, index.recipe)
    content = text.lower().encode()
    for ngram_index in index.ngrams.indices_in(hashes):
        problem_id = index.ngram_problems[index.ngrams.index(int(hashes[ngram_index]))]
        excerpt = content[starts[ngram_index] : ends[ngram_index]].decode(errors="replace")
        yield Hit(problem_id=problem_id, method="ngram", evidence=excerpt[:_EVIDENCE_CHARS])


def _ngrams(text: str, recipe: ContaminationRecipe) -> tuple[Hashes, Any, Any]:
    """Hash, start and end (in bytes of the lower-case text) of each n-gram that is long enough.

    Sequences of numbers and `for i in range` occur in all programs, so an n-gram counts only if its
    words have enough characters in total.
    """
    content = text.lower().encode()
    starts, ends = word_spans(content)
    size = recipe.ngram_words
    if len(starts) < size:
        empty = np.zeros(0, dtype=np.int64)
        return empty.astype(np.uint64), empty, empty
    hashes = ngram_hashes(span_hashes(content, starts, ends), size)
    letters = np.concatenate([[0], np.cumsum(ends - starts)])
    is_long_enough = letters[size:] - letters[:-size] >= recipe.min_ngram_chars
    return (
        hashes[is_long_enough],
        starts[: len(hashes)][is_long_enough],
        ends[size - 1 :][is_long_enough],
    )


def find_contamination(
    documents_folder: str,
    folder: str,
    *,
    problems: pa.Table,
    recipe: ContaminationRecipe,
    exchange: Exchange = IN_PROCESS,
) -> dict[str, Any]:
    """Write `hits`, co-partitioned with the documents; return the stats.

    Memory: a shard of documents. Existing shards of hits are not rewritten.
    """
    input_shards = document_shards([documents_folder])
    missing = missing_shards(folder, "hits", range(len(input_shards)))
    write_shards(
        exchange,
        _put_hits,
        missing,
        [input_shards[index] for index in missing],
        unit="shards searched",
        folder=folder,
        problems=problems,
        recipe=recipe,
    )
    num_hits = shards.records(folder, "hits").total("num_rows")
    return {"problems": problems.num_rows, "hits": num_hits}


def _put_hits(
    shard_index: int,
    input_shard: DocumentShard,
    *,
    folder: str,
    problems: pa.Table,
    recipe: ContaminationRecipe,
) -> None:
    index, apply_prefilter = _matchers(_HashableTable(problems), recipe)
    table = input_shard.read(["document_id", "text_id", "text"])
    rows = list(_rows(table, apply_prefilter(table["text"]), index))
    shards.put_table(
        folder, "hits", shard_index, rows, CONTAMINATION, stats=input_shard.co_partition_stats
    )


@dataclass(frozen=True)
class _HashableTable:
    """A table as a key of a cache: equal by its rows."""

    table: pa.Table

    def __hash__(self) -> int:
        return hash((self.table.num_rows, self.table.nbytes))


@lru_cache(maxsize=1)  # of a process: the shards of an artifact have the same problems
def _matchers(
    problems: _HashableTable, recipe: ContaminationRecipe
) -> "tuple[ProblemIndex, Callable[[pa.ChunkedArray], PrefilterMasks]]":
    index = index_problems(problems.table, recipe=recipe)
    return index, prefilter(index)


def prefilter(index: ProblemIndex) -> "Callable[[pa.ChunkedArray], PrefilterMasks]":
    """A function that computes, for a column of texts, which matchers `hits` must apply."""
    # Imported lazily: the Dagster definitions load without compiled kernels.
    from snow_assets.curation.decontamination.prefilter_kernels import (
        Prefilter,
        PrefilterMasks,
        prefilter_masks,
    )

    recipe = index.recipe
    tables = Prefilter.of(
        [text.encode() for _, text in index.needles],
        [text.lower().encode() for text in index.texts],
        window_bytes=recipe.min_substring_chars,
        ngram_words=recipe.ngram_words,
        min_ngram_chars=recipe.min_ngram_chars,
    )
    descriptions = index.renamed.descriptions.shapes

    def masks(texts: pa.ChunkedArray) -> PrefilterMasks:
        column = texts.combine_chunks() if texts.num_chunks != 1 else texts.chunk(0)
        non_ascii = np.flatnonzero(~pc.string_is_ascii(column).to_numpy(zero_copy_only=False))
        non_ascii_texts = {row: column[row].as_py() for row in non_ascii.tolist()}
        lowered = replace_values(
            pc.ascii_lower(column), {row: text.lower() for row, text in non_ascii_texts.items()}
        )
        overlap, gate = prefilter_masks(*buffers(lowered), tables, descriptions)
        gate |= index.renamed.flag_programs(column)
        # The lower case of a capital sigma depends on its context: apply all matchers.
        sigma = [row for row, text in non_ascii_texts.items() if "\u03a3" in text]
        overlap[sigma] = gate[sigma] = True
        return PrefilterMasks(overlap, gate)

    return masks


def _rows(
    documents: pa.Table, masks: "PrefilterMasks", index: ProblemIndex
) -> Iterator[dict[str, Any]]:
    rows = np.flatnonzero(masks.overlap | masks.gate)
    for row, document in zip(rows.tolist(), documents.take(rows).to_pylist(), strict=True):
        for hit in hits(
            document["text"],
            index,
            check_overlap=bool(masks.overlap[row]),
            check_gate=bool(masks.gate[row]),
        ):
            yield {
                "document_id": document["document_id"],
                "text_id": document["text_id"],
                "problem_id": hit.problem_id,
                "method": hit.method,
                "evidence": hit.evidence,
            }
