"""Pack documents into fixed-length sequences of one language, with a span per document piece.

Documents are packed repository by repository and cut wherever a sequence is full. A document's
*packed form* is its tokens followed by END_OF_TEXT, which its spans include. With
`repository_tokens`, a repository's first file is preceded by <repo_name> and its name, every file
by <file_sep>, its path and a newline, and only the last file of the repository ends with
END_OF_TEXT (StarCoder2's form, arXiv 2402.19173). A fraction `fill_in_the_middle_rate` of the
documents is reordered for fill-in-the-middle (PSM): <fim_prefix> prefix <fim_suffix> suffix
<fim_middle> middle.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from snow_assets.curation.tokenizer.tokens import (
    END_OF_TEXT,
    FILE_SEP,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    REPO_NAME,
    token_ids,
)
from snow_assets.pretraining.ordering import iterate_by_repository
from snow_assets.pretraining.sequences import checksums_name, put_sequences, tokens_name
from snow_assets.pretraining.sources import LanguageSource
from snow_assets.recipe import PackingRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas import SPAN

_DOCUMENTS_AT_ONCE = 64  # per tokenizer call, which uses all cores


@dataclass
class _Shard:
    """Tokens and spans of a shard's consecutive sequences, while they are packed."""

    first_sequence: int
    num_sequences: int
    language: str
    pieces: list[np.ndarray] = field(default_factory=list)
    spans: list[dict[str, Any]] = field(default_factory=list)
    num_tokens: int = 0


def pack_language(
    source: LanguageSource,
    *,
    folder: str,
    first_shard: int,
    first_sequence: int,
    num_sequences: int,
    max_seq_len: int,
    tokenizer: Tokenizer,
    recipe: PackingRecipe,
) -> int:
    """Write exactly `num_sequences` sequences and their spans; return the number of shards.

    Passes are packed in order; the last one stops where the last sequence is full. A finished
    language is skipped. In an interrupted language, finished shards are kept and the documents are
    read again. Memory: a shard, and a bucket of documents.
    """
    sizes = [
        min(recipe.shard_sequences, num_sequences - first)
        for first in range(0, num_sequences, recipe.shard_sequences)
    ]
    if all(_is_finished(folder, first_shard + index) for index in range(len(sizes))):
        return len(sizes)
    stream = _packed_documents(source, tokenizer, recipe)
    first = first_sequence
    remainder: tuple[Mapping[str, Any], np.ndarray, int] | None = None
    for index, size in enumerate(sizes):
        shard = _Shard(first_sequence=first, num_sequences=size, language=source.language)
        remainder = _fill(shard, remainder, stream, max_seq_len)
        if not _is_finished(folder, first_shard + index):
            _write(folder, first_shard + index, shard, max_seq_len, tokenizer.get_vocab_size())
        first += size
    return len(sizes)


def _is_finished(folder: str, index: int) -> bool:
    names = (tokens_name(index), checksums_name(index), shards.table_name("spans", index))
    return all(shards.record(folder, name) for name in names)


def _packed_documents(
    source: LanguageSource, tokenizer: Tokenizer, recipe: PackingRecipe
) -> Iterator[tuple[Mapping[str, Any], np.ndarray]]:
    """Yield all passes' documents in packing order: rows (with `pass_index`) and packed forms."""
    for pass_index, tokens in enumerate(source.pass_tokens):
        documents = iterate_by_repository(
            source.read(),
            pass_index=pass_index,
            buckets=-(-tokens // recipe.bucket_tokens) or 1,
            file_order=recipe.file_order,
            seed=recipe.seed,
        )
        for batch in _batched(_mark_repository_bounds(documents), _DOCUMENTS_AT_ONCE):
            forms = packed_forms(batch, pass_index=pass_index, tokenizer=tokenizer, recipe=recipe)
            for row, form in zip(batch, forms, strict=True):
                yield {**row, "pass_index": pass_index}, form


def _mark_repository_bounds(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Mark the first and the last file of each repository."""
    for _, group in itertools.groupby(rows, key=lambda row: row["repository"]):
        files = list(group)
        for index, row in enumerate(files):
            yield {**row, "is_first": index == 0, "is_last": index == len(files) - 1}


def _batched(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    while group := list(itertools.islice(rows, size)):
        yield group


def packed_forms(
    rows: Sequence[Mapping[str, Any]],
    *,
    pass_index: int,
    tokenizer: Tokenizer,
    recipe: PackingRecipe,
) -> list[np.ndarray]:
    """Tokenize documents to packed forms; ValueError if a plain text's `num_tokens` is wrong."""
    parts = [_parts(row, pass_index, tokenizer, recipe) for row in rows]
    texts = [part for document in parts for part in document if isinstance(part, str)]
    encoded = iter(token_ids(tokenizer, texts))
    forms = []
    for row, document in zip(rows, parts, strict=True):
        pieces = [next(encoded) if isinstance(part, str) else [part] for part in document]
        form = np.fromiter(itertools.chain.from_iterable(pieces), np.int32)
        is_plain = len(document) == 2 and isinstance(document[0], str)
        if is_plain and len(form) != row["num_tokens"] + 1:
            raise ValueError(
                f"document {row['document_id']} counts {row['num_tokens']} tokens and has "
                f"{len(form) - 1}: it was counted with another tokenizer; materialize it again"
            )
        forms.append(form)
    return forms


def _parts(
    row: Mapping[str, Any], pass_index: int, tokenizer: Tokenizer, recipe: PackingRecipe
) -> list[str | int]:
    """A packed form as texts to tokenize and ids of special tokens."""
    special_id = _special_token_ids(tokenizer)
    text_parts = _fill_in_the_middle(row, pass_index, special_id, recipe)
    if not recipe.repository_tokens:
        return [*text_parts, special_id(END_OF_TEXT)]
    repository_parts = [special_id(REPO_NAME), row["repository"]] if row["is_first"] else []
    end_parts = [special_id(END_OF_TEXT)] if row["is_last"] else []
    return [*repository_parts, special_id(FILE_SEP), f"{row['path']}\n", *text_parts, *end_parts]


def _fill_in_the_middle(
    row: Mapping[str, Any], pass_index: int, special_id: Callable[[str], int], recipe: PackingRecipe
) -> list[str | int]:
    text: str = row["text"]
    digest = hashlib.sha256(f"{recipe.seed}:{pass_index}:{row['document_id']}:middle".encode())
    draw, *cuts = (int(word) / 2**32 for word in np.frombuffer(digest.digest()[:12], ">u4"))
    if draw >= recipe.fill_in_the_middle_rate:
        return [text]
    begin, end = sorted(int(cut * (len(text) + 1)) for cut in cuts)
    return [
        special_id(FIM_PREFIX),
        text[:begin],
        special_id(FIM_SUFFIX),
        text[end:],
        special_id(FIM_MIDDLE),
        text[begin:end],
    ]


def _special_token_ids(tokenizer: Tokenizer) -> Callable[[str], int]:
    def token_id(token: str) -> int:
        special_id = tokenizer.token_to_id(token)
        if special_id is None:
            raise ValueError(
                f"the tokenizer has no special token {token}: name another in the recipe's "
                "tokenizer.pretrained, or None to train one"
            )
        return int(special_id)

    return token_id


def _fill(
    shard: _Shard,
    remainder: tuple[Mapping[str, Any], np.ndarray, int] | None,
    stream: Iterator[tuple[Mapping[str, Any], np.ndarray]],
    max_seq_len: int,
) -> tuple[Mapping[str, Any], np.ndarray, int] | None:
    """Fill a shard from the last document's remainder and the stream; return the new remainder."""
    free_tokens = shard.num_sequences * max_seq_len
    while free_tokens:
        if remainder is None:
            document = next(stream, None)
            if document is None:
                raise ValueError(
                    f"{shard.language}: the documents end {free_tokens} tokens before the shard "
                    f"that starts with sequence {shard.first_sequence} is full: they are fewer "
                    "than their counts say; materialize what they come from again"
                )
            remainder = (*document, 0)
        row, packed_form, offset = remainder
        length = min(free_tokens, len(packed_form) - offset)
        _add(shard, row, packed_form, offset, length, max_seq_len)
        free_tokens -= length
        remainder = (
            (row, packed_form, offset + length) if offset + length < len(packed_form) else None
        )
    return remainder


def _add(
    shard: _Shard,
    row: Mapping[str, Any],
    packed_form: np.ndarray,
    offset: int,
    length: int,
    max_seq_len: int,
) -> None:
    """Append packed_form[offset : offset + length], with a span per sequence that it overlaps."""
    shard.pieces.append(packed_form[offset : offset + length])
    while length:
        sequence, sequence_offset = divmod(shard.num_tokens, max_seq_len)
        span_length = min(length, max_seq_len - sequence_offset)
        shard.spans.append(
            {
                "sequence": shard.first_sequence + sequence,
                "sequence_offset": sequence_offset,
                "length": span_length,
                "document_id": row["document_id"],
                "text_id": row["text_id"],
                "document_offset": offset,
                "pass_index": row["pass_index"],
                "language": shard.language,
                "repository": row["repository"],
                "license": row["license"],
            }
        )
        shard.num_tokens += span_length
        offset += span_length
        length -= span_length


def _write(folder: str, index: int, shard: _Shard, max_seq_len: int, vocab_size: int) -> None:
    put_sequences(
        folder,
        index,
        np.concatenate(shard.pieces).reshape(shard.num_sequences, max_seq_len),
        vocab_size=vocab_size,
        stats={"language": shard.language, "passes": _sequences_by_pass(shard)},
    )
    shards.put_table(folder, "spans", index, shard.spans, SPAN, stats={"language": shard.language})


def _sequences_by_pass(shard: _Shard) -> list[int]:
    """Number of sequences that begin in each pass, from pass 0."""
    begins = [span["pass_index"] for span in shard.spans if span["sequence_offset"] == 0]
    return [begins.count(index) for index in range(max(begins) + 1)]
