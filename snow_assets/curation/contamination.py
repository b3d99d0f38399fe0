"""Documents that quote a benchmark problem, with the evidence.

Three matchers: StarCoder2's (arXiv 2402.19173, section 3.5: a problem's docstring or solution as a
substring once all white space is removed, here in lower case too, as StarCoder had it); runs of
words that a description or solution shares; and what the gate before packing would refuse
(`renamed`: programs under other names, descriptions word by word), so that a document is dropped
here instead of a run stopping there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.columns import buffers, replace_values
from snow_assets.curation.document_shards import document_shards
from snow_assets.curation.hashing import (
    Hashes,
    HashSet,
    ngram_hashes,
    span_hashes,
    window_hashes,
    word_spans,
)
from snow_assets.curation.problem_texts import docstrings
from snow_assets.documents import CONTAMINATION
from snow_assets.recipe import ContaminationRecipe
from snow_assets.remaining import Remaining

if TYPE_CHECKING:
    from snow_assets.curation.prefilter import Suspects
    from snow_assets.curation.renamed import RenamedIndex

_EVIDENCE_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Hit:
    problem_id: str
    method: str  # substring, ngram, renamed or description
    evidence: str  # what of the document agrees


@dataclass(frozen=True, kw_only=True)
class ProblemIndex:
    """Problems prepared for matching. Memory: a number per character and word of them."""

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
    # Compiled code is heavy: not with the definitions.
    from snow_assets.curation.renamed import RenamedIndex

    needles: list[tuple[str, str]] = []
    ngrams: dict[int, str] = {}
    texts: list[str] = []
    columns = problems.select(["problem_id", "prompt", "solution"]).to_pylist()
    for row in sorted(columns, key=lambda row: str(row["problem_id"])):
        for text in [*docstrings(row["prompt"]), row["solution"]]:
            texts.append(text)
            bare = _strip_spaces(text).lower()
            if len(bare) >= recipe.min_substring_chars:
                needles.append((row["problem_id"], bare))
            hashes, _, _ = _ngrams(text, recipe)
            for hashed in hashes.tolist():
                ngrams.setdefault(hashed, row["problem_id"])
    needles_of: dict[int, list[int]] = {}
    for place, (_, text) in enumerate(needles):
        key = window_hashes(text.encode()[: recipe.min_substring_chars], recipe.min_substring_chars)
        needles_of.setdefault(int(key[0]), []).append(place)
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
    text: str, index: ProblemIndex, *, may_quote: bool = True, may_leak: bool = True
) -> list[Hit]:
    """The problems that a text quotes, each once per method.

    `may_quote`, `may_leak`: what the prefilter says of the text.
    """
    hits_of: dict[tuple[str, str], Hit] = {}
    if may_quote:
        for hit in (*_substring_hits(text, index), *_ngram_hits(text, index)):
            hits_of.setdefault((hit.problem_id, hit.method), hit)
    if may_leak:
        for problem_id, method, evidence in index.renamed.hits(text):
            hit = Hit(problem_id=problem_id, method=method, evidence=evidence)
            hits_of.setdefault((problem_id, method), hit)
    return [hits_of[key] for key in sorted(hits_of)]


def _strip_spaces(text: str) -> str:
    return "".join(text.split())


def _substring_hits(text: str, index: ProblemIndex) -> Iterator[Hit]:
    bare = _strip_spaces(text).lower()
    windows = window_hashes(bare.encode(), index.recipe.min_substring_chars)
    # Only a text that holds a needle's beginning can hold the needle.
    keys = {int(windows[place]) for place in index.needle_keys.indices_in(windows)}
    for needle in sorted(place for key in keys for place in index.needles_of[key]):
        problem_id, quoted = index.needles[needle]
        if quoted in bare:
            evidence = quoted[:_EVIDENCE_CHARS]
            yield Hit(problem_id=problem_id, method="substring", evidence=evidence)


def _ngram_hits(text: str, index: ProblemIndex) -> Iterator[Hit]:
    hashes, starts, ends = _ngrams(text, index.recipe)
    content = text.lower().encode()
    for place in index.ngrams.indices_in(hashes):
        problem = index.ngram_problems[index.ngrams.index(int(hashes[place]))]
        excerpt = content[starts[place] : ends[place]].decode(errors="replace")
        yield Hit(problem_id=problem, method="ngram", evidence=excerpt[:_EVIDENCE_CHARS])


def _ngrams(text: str, recipe: ContaminationRecipe) -> tuple[Hashes, Any, Any]:
    """Hash, start and end (in bytes of the lower-case text) of every n-gram that says enough.

    Numbers in a row and `for i in range` are common to all programs: an n-gram counts only if its
    words have enough characters together.
    """
    content = text.lower().encode()
    starts, ends = word_spans(content)
    size = recipe.ngram_words
    if len(starts) < size:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing.astype(np.uint64), nothing, nothing
    hashes = ngram_hashes(span_hashes(content, starts, ends), size)
    letters = np.concatenate([[0], np.cumsum(ends - starts)])
    says = letters[size:] - letters[:-size] >= recipe.min_ngram_chars
    return hashes[says], starts[: len(hashes)][says], ends[size - 1 :][says]


def find_contamination(
    documents_folder: str, folder: str, *, problems: pa.Table, recipe: ContaminationRecipe
) -> dict[str, Any]:
    """Write `hits`, a shard beside each shard of documents; return the facts.

    Memory: a shard of documents. A shard of hits that is there is not made again.
    """
    index = index_problems(problems, recipe=recipe)
    suspects_in = prefilter(index)
    sources = document_shards([documents_folder])
    remaining = Remaining(len(sources), "shards searched")
    for number, source in enumerate(sources):
        if shards.record(folder, shards.table_name("hits", number)) is None:
            table = source.read(["document_id", "text_id", "text"])
            rows = list(_rows(table, suspects_in(table["text"]), index))
            shards.put_table(folder, "hits", number, rows, CONTAMINATION, facts=source.beside)
            remaining.advance()
        else:
            remaining.skip()
    found = [entry for entry in shards.records(folder) if entry.name.startswith("hits-")]
    return {"problems": problems.num_rows, "hits": sum(entry.num_rows or 0 for entry in found)}


def prefilter(index: ProblemIndex) -> "Callable[[pa.ChunkedArray], Suspects]":
    """Says of a column of texts which of them `hits` must look at, and for what."""
    # Compiled code is heavy: not with the definitions.
    from snow_assets.curation.prefilter import Prefilter, Suspects, suspects_of

    recipe = index.recipe
    tables = Prefilter.of(
        [text.encode() for _, text in index.needles],
        [text.lower().encode() for text in index.texts],
        window_bytes=recipe.min_substring_chars,
        ngram_words=recipe.ngram_words,
        min_ngram_chars=recipe.min_ngram_chars,
    )
    descriptions = index.renamed.descriptions.shapes

    def suspects_in(texts: pa.ChunkedArray) -> Suspects:
        column = texts.combine_chunks() if texts.num_chunks != 1 else texts.chunk(0)
        non_ascii = np.flatnonzero(~pc.string_is_ascii(column).to_numpy(zero_copy_only=False))
        texts_of = {row: column[row].as_py() for row in non_ascii.tolist()}
        lowered = replace_values(
            pc.ascii_lower(column), {row: text.lower() for row, text in texts_of.items()}
        )
        quotes, leaks = suspects_of(*buffers(lowered), tables, descriptions)
        leaks |= index.renamed.flag_programs(column)
        # The lower case of a capital sigma depends on its neighbours.
        sigma = [row for row, text in texts_of.items() if "\u03a3" in text]
        quotes[sigma] = leaks[sigma] = True
        return Suspects(quotes, leaks)

    return suspects_in


def _rows(
    documents: pa.Table, suspects: "Suspects", index: ProblemIndex
) -> Iterator[dict[str, Any]]:
    rows = np.flatnonzero(suspects.quotes | suspects.leaks)
    for row, document in zip(rows.tolist(), documents.take(rows).to_pylist(), strict=True):
        for hit in hits(
            document["text"],
            index,
            may_quote=bool(suspects.quotes[row]),
            may_leak=bool(suspects.leaks[row]),
        ):
            yield {
                "document_id": document["document_id"],
                "text_id": document["text_id"],
                "problem_id": hit.problem_id,
                "method": hit.method,
                "evidence": hit.evidence,
            }
