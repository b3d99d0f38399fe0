"""Packed forms of documents: their tokens as packs hold them.

A document's *packed form* is its tokens followed by END_OF_TEXT, which its spans include. With
`repository_tokens`, a repository's first file is preceded by <repo_name> and its name, every file
by <file_sep>, its path and a newline, and only the last file of the repository ends with
END_OF_TEXT (StarCoder2's form, arXiv 2402.19173). A fraction `fill_in_the_middle_rate` of the
documents is reordered for fill-in-the-middle (PSM): <fim_prefix> prefix <fim_suffix> suffix
<fim_middle> middle.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.curation.tokenizer.encoding import token_ids
from snow_assets.curation.tokenizer.tokens import (
    END_OF_TEXT,
    FILE_SEP,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    REPO_NAME,
    SharedTokenizer,
)
from snow_assets.recipe import PackingRecipe

NAMES = ("document_id", "text_id", "repository", "license")
"""Columns of a document that its spans have."""


def packed_schema(dtype: np.dtype[Any]) -> pa.Schema:
    """Packed documents: those of a bucket in packing order."""
    return pa.schema(
        [
            *((name, pa.string()) for name in NAMES),
            ("pass_index", pa.int32()),
            ("tokens", pa.large_list(pa.from_numpy_dtype(dtype))),
        ]
    )


def num_packed_tokens(packed: pa.Table) -> int:
    return sum(len(tokens.flatten()) for tokens in packed["tokens"].chunks)


def packed_documents(
    batch: pa.RecordBatch,
    *,
    pass_index: int,
    tokenizer: SharedTokenizer,
    recipe: PackingRecipe,
    dtype: np.dtype[Any],
) -> pa.Table:
    """Tokenize documents to packed forms; ValueError if a plain text's `num_tokens` is wrong."""
    rows = batch.to_pylist()
    special_id = _special_token_ids(tokenizer.tokenizer)
    parts = [_parts(row, pass_index, special_id, recipe) for row in rows]
    texts = [part for document in parts for part in document if isinstance(part, str)]
    encoded = iter(token_ids(tokenizer.tokenizer, texts).split())
    pieces: list[npt.NDArray[np.uint32]] = []
    lengths = np.zeros(len(rows), np.int64)
    for index, (row, document) in enumerate(zip(rows, parts, strict=True)):
        document_pieces = [
            next(encoded) if isinstance(part, str) else np.array([part], np.uint32)
            for part in document
        ]
        pieces += document_pieces
        lengths[index] = sum(map(len, document_pieces))
        is_plain = len(document) == 2 and isinstance(document[0], str)
        if is_plain and lengths[index] != row["num_tokens"] + 1:
            raise ValueError(
                f"document {row['document_id']} counts {row['num_tokens']} tokens and has "
                f"{lengths[index] - 1}: it was counted with another tokenizer; materialize it again"
            )
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = pa.LargeListArray.from_arrays(offsets, np.concatenate(pieces).astype(dtype))
    names = [batch[name] for name in NAMES]
    passes = pa.repeat(pa.scalar(pass_index, pa.int32()), len(rows))
    return pa.table([*names, passes, tokens], schema=packed_schema(dtype))


def _parts(
    row: Mapping[str, Any], pass_index: int, special_id: Callable[[str], int], recipe: PackingRecipe
) -> list[str | int]:
    """A packed form as texts to tokenize and ids of special tokens."""
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
    if not recipe.fill_in_the_middle_rate:
        return [text]
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
