"""Documents -> sequences of one language each, repository by repository, with a span per piece.

A document's *packed form* is its tokens and then END_OF_TEXT, which belongs to it: spans count it.
With `repository_tokens`, a repository's first file is preceded by <repo_name> and its name, every
file by <file_sep>, its path and a newline, and only the last one of the repository ends with
END_OF_TEXT (StarCoder2's form, arXiv 2402.19173). A share `fill_in_the_middle_rate` of the
documents has its text cut at two places and reordered: <fim_prefix> beginning <fim_suffix> end
<fim_middle> middle. Sequences are cut from the stream of packed forms wherever they are full.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets import shards
from snow_assets.curation.tokens import (
    END_OF_TEXT,
    FILE_SEP,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    REPO_NAME,
    token_ids,
)
from snow_assets.documents import SPAN, sequences_schema
from snow_assets.pretraining.ordering import by_repository
from snow_assets.pretraining.sources import Supply
from snow_assets.recipe import PackingRecipe

_DOCUMENTS_AT_ONCE = 64  # through the tokenizer, which uses all cores for them


@dataclass
class _Shard:
    """A shard in the making: the tokens and spans of consecutive sequences."""

    first_sequence: int
    num_sequences: int
    language: str
    pieces: list[np.ndarray] = field(default_factory=list)
    spans: list[dict[str, Any]] = field(default_factory=list)
    num_tokens: int = 0


def pack_language(
    supply: Supply,
    *,
    folder: str,
    first_shard: int,
    first_sequence: int,
    num_sequences: int,
    context_tokens: int,
    tokenizer: Tokenizer,
    recipe: PackingRecipe,
) -> int:
    """Write exactly `num_sequences` sequences and their spans; return the shards they fill.

    Pass follows pass, each a whole one but the last, which stops where the last sequence is full.
    A finished language is skipped; in a language that a kill interrupted, finished shards are kept
    and the documents are read again. Memory: a shard, and a bucket of documents.
    """
    sizes = [
        min(recipe.shard_sequences, num_sequences - begin)
        for begin in range(0, num_sequences, recipe.shard_sequences)
    ]
    if all(_is_finished(folder, first_shard + index) for index in range(len(sizes))):
        return len(sizes)
    stream = _documents(supply, tokenizer, recipe)
    begin = first_sequence
    rest: tuple[Mapping[str, Any], np.ndarray, int] | None = None
    for index, size in enumerate(sizes):
        shard = _Shard(first_sequence=begin, num_sequences=size, language=supply.language)
        rest = _fill(shard, rest, stream, context_tokens)
        if not _is_finished(folder, first_shard + index):
            _write(folder, first_shard + index, shard, context_tokens)
        begin += size
    return len(sizes)


def _is_finished(folder: str, index: int) -> bool:
    tables = ("sequences", "spans")
    return all(shards.record(folder, shards.table_name(table, index)) for table in tables)


def _documents(
    supply: Supply, tokenizer: Tokenizer, recipe: PackingRecipe
) -> Iterator[tuple[Mapping[str, Any], np.ndarray]]:
    """Every pass's documents in packing order, as rows (with `pass_index`) and packed forms."""
    for pass_index, tokens in enumerate(supply.pass_tokens):
        ordered = by_repository(
            supply.read(),
            pass_index=pass_index,
            buckets=-(-tokens // recipe.bucket_tokens) or 1,
            file_order=recipe.file_order,
            seed=recipe.seed,
        )
        for group in _batched(_with_neighbours(ordered), _DOCUMENTS_AT_ONCE):
            forms = packed_forms(group, pass_index=pass_index, tokenizer=tokenizer, recipe=recipe)
            for row, form in zip(group, forms, strict=True):
                yield {**row, "pass_index": pass_index}, form


def _with_neighbours(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
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
    """The packed forms of documents; ValueError if a plain text is not the tokens it counted."""
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
    """A packed form as texts still to encode and ids of special tokens."""
    special = _special(tokenizer)
    middle = _fill_in_the_middle(row, pass_index, special, recipe)
    if not recipe.repository_tokens:
        return [*middle, special(END_OF_TEXT)]
    name = [special(REPO_NAME), row["repository"]] if row["is_first"] else []
    end = [special(END_OF_TEXT)] if row["is_last"] else []
    return [*name, special(FILE_SEP), f"{row['path']}\n", *middle, *end]


def _fill_in_the_middle(
    row: Mapping[str, Any], pass_index: int, special: Callable[[str], int], recipe: PackingRecipe
) -> list[str | int]:
    text: str = row["text"]
    digest = hashlib.sha256(f"{recipe.seed}:{pass_index}:{row['document_id']}:middle".encode())
    share, *places = (int(word) / 2**32 for word in np.frombuffer(digest.digest()[:12], ">u4"))
    if share >= recipe.fill_in_the_middle_rate:
        return [text]
    begin, end = sorted(int(place * (len(text) + 1)) for place in places)
    return [
        special(FIM_PREFIX),
        text[:begin],
        special(FIM_SUFFIX),
        text[end:],
        special(FIM_MIDDLE),
        text[begin:end],
    ]


def _special(tokenizer: Tokenizer) -> Callable[[str], int]:
    def of(token: str) -> int:
        number = tokenizer.token_to_id(token)
        if number is None:
            raise ValueError(
                f"the tokenizer has no special token {token}: name another in the recipe's "
                "tokenizer.given, or None to train one"
            )
        return int(number)

    return of


def _fill(
    shard: _Shard,
    rest: tuple[Mapping[str, Any], np.ndarray, int] | None,
    stream: Iterator[tuple[Mapping[str, Any], np.ndarray]],
    context_tokens: int,
) -> tuple[Mapping[str, Any], np.ndarray, int] | None:
    """Fill the shard from the rest of the last document and the stream; return the new rest."""
    room = shard.num_sequences * context_tokens
    while room:
        if rest is None:
            found = next(stream, None)
            if found is None:
                raise ValueError(
                    f"{shard.language}: the documents end {room} tokens before the shard that "
                    f"starts with sequence {shard.first_sequence} is full: they are fewer than "
                    "their counts say; materialize what they come from again"
                )
            rest = (*found, 0)
        row, form, offset = rest
        taken = min(room, len(form) - offset)
        _add(shard, row, form, offset, taken, context_tokens)
        room -= taken
        rest = (row, form, offset + taken) if offset + taken < len(form) else None
    return rest


def _add(
    shard: _Shard,
    row: Mapping[str, Any],
    form: np.ndarray,
    offset: int,
    length: int,
    context_tokens: int,
) -> None:
    """Append form[offset : offset + length], with a span per sequence that it touches."""
    shard.pieces.append(form[offset : offset + length])
    while length:
        sequence, place = divmod(shard.num_tokens, context_tokens)
        taken = min(length, context_tokens - place)
        shard.spans.append(
            {
                "sequence": shard.first_sequence + sequence,
                "sequence_offset": place,
                "length": taken,
                "document_id": row["document_id"],
                "text_id": row["text_id"],
                "document_offset": offset,
                "pass_index": row["pass_index"],
                "language": shard.language,
                "repository": row["repository"],
                "license": row["license"],
            }
        )
        shard.num_tokens += taken
        offset += taken
        length -= taken


def _write(folder: str, index: int, shard: _Shard, context_tokens: int) -> None:
    tokens = pa.FixedSizeListArray.from_arrays(
        pa.array(np.concatenate(shard.pieces), pa.int32()), context_tokens
    )
    schema = sequences_schema(context_tokens)
    numbers = pa.array(range(shard.first_sequence, shard.first_sequence + shard.num_sequences))
    table = pa.Table.from_arrays([numbers, tokens.cast(schema.field("tokens").type)], schema=schema)
    facts = {"language": shard.language, "passes": _sequences_by_pass(shard)}
    shards.put_table(folder, "sequences", index, table, schema, facts=facts)
    shards.put_table(folder, "spans", index, shard.spans, SPAN, facts={"language": shard.language})


def _sequences_by_pass(shard: _Shard) -> list[int]:
    """How many sequences begin in each pass, from pass 0 on."""
    begins = [span["pass_index"] for span in shard.spans if span["sequence_offset"] == 0]
    return [begins.count(index) for index in range(max(begins) + 1)]
