"""Tokenize texts: their ids and counts, and the bytes of an id.

Hugging Face's library is the reference. For byte-level BPE whose ids are in the order of the merges
gigatoken computes the same ids in an eightieth of the time; texts that it might read otherwise are
left to the library.
"""

import json
import threading
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from snow_assets.curation.tokenizer.gigatoken_encoding import GigatokenEncoding


class TokenIds(NamedTuple):
    """Token ids of texts, one text after another; text i has ids[offsets[i] : offsets[i + 1]]."""

    ids: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[npt.ArrayLike]) -> "TokenIds":
        arrays = [np.asarray(ids, np.uint32) for ids in texts]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        return cls(np.concatenate([np.zeros(0, np.uint32), *arrays]), offsets)

    def split(self) -> list[npt.NDArray[np.uint32]]:
        """The ids of each text."""
        bounds = pairwise(self.offsets.tolist())
        return [self.ids[start:end] for start, end in bounds]


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """The number of tokens of each text, without BOS and EOS tokens."""
    counts: list[int] = np.diff(token_ids(tokenizer, texts).offsets).tolist()
    return counts


_BUILDING = threading.Lock()
"""Threads that find no cached encoding would each build it."""


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> TokenIds:
    """The token ids of each text, without BOS and EOS tokens. Memory: 20 bytes per byte."""
    with _BUILDING:
        fast = _gigatoken(tokenizer) if tokenizer.encode_special_tokens else None
    if fast is None:
        return TokenIds.of(_reference_ids(tokenizer, texts))
    ids, offsets, is_unsupported = fast.encode(pa.array(texts, pa.large_string()))
    encoded = TokenIds(ids, offsets)
    if not is_unsupported.any():
        return encoded
    by_text: list[npt.ArrayLike] = list(encoded.split())
    rows = np.flatnonzero(is_unsupported).tolist()
    reencoded = _reference_ids(tokenizer, [texts[row] for row in rows])
    for row, text_ids in zip(rows, reencoded, strict=True):
        by_text[row] = text_ids
    return TokenIds.of(by_text)


def _reference_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoded_text.ids for encoded_text in encoded]


MAX_BLANKS = 100_000
"""Runs of white space of one to ten times this length overflow the stack in gigatoken's regular
expressions."""

_PLAIN_BPE = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}


@lru_cache(maxsize=4)  # keyed by object: a tokenizer is not modified after its first use
def _gigatoken(tokenizer: Tokenizer) -> "GigatokenEncoding | None":
    """The equivalent gigatoken encoding, or None if its ids could differ; compared on samples."""
    spec = json.loads(tokenizer.to_str())
    if not _is_plain_byte_level(spec):
        return None
    from snow_assets.curation.tokenizer.gigatoken_encoding import GigatokenEncoding
    from snow_assets.curation.tokenizer.validation import ROUND_TRIP_SAMPLES

    fast = GigatokenEncoding.of(spec, splits_digits=spec["pre_tokenizer"]["type"] == "Sequence")
    if fast is None:
        return None
    ids, offsets, is_unsupported = fast.encode(pa.array(ROUND_TRIP_SAMPLES, pa.large_string()))
    samples = tokenizer.encode_batch_fast(list(ROUND_TRIP_SAMPLES), add_special_tokens=False)
    is_same = [
        is_unsupported[row] or text_ids.tolist() == samples[row].ids
        for row, text_ids in enumerate(TokenIds(ids, offsets).split())
    ]
    return fast if all(is_same) else None


def _is_plain_byte_level(spec: dict[str, Any]) -> bool:
    """Whether a tokenizer.json is byte-level BPE that gigatoken knows: it merges in the order of
    ids and splits as GPT-2 does, at single digits before that or not."""
    model = spec["model"]
    steps = (spec["pre_tokenizer"] or {}).get("pretokenizers", [spec["pre_tokenizer"]])
    has_digits = len(steps) == 2 and _has(steps[0], _DIGITS)
    is_known = (
        _has(model, _PLAIN_BPE)
        and spec["normalizer"] is spec["truncation"] is spec["padding"] is None
        and all(token["special"] for token in spec["added_tokens"])
        and len(steps) == 1 + has_digits
        and _has(steps[-1], BYTE_LEVEL)
    )
    if not is_known:
        return False
    ids: dict[str, int] = model["vocab"]
    merged_ids = [ids["".join(pair)] for pair in model["merges"]]
    return set(_byte_chars()) <= ids.keys() and merged_ids == sorted(merged_ids)


def token_bytes(tokenizer: Tokenizer) -> list[bytes] | None:
    """The bytes that each id adds to a decoded text, none for special tokens; None if a token's
    bytes could depend on its neighbours, as they may with any decoder but ByteLevel, or if ids are
    missing."""
    spec = json.loads(tokenizer.to_str())
    if not _has(spec["decoder"], {"type": "ByteLevel"}):
        return None
    byte_of = {char: byte for byte, char in enumerate(_byte_chars())}
    special = {token["id"] for token in spec["added_tokens"] if token["special"]}
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        return None
    tokens = []
    for name, token_id in sorted(vocabulary.items(), key=lambda item: item[1]):
        if token_id in special:
            tokens.append(b"")
        elif name.isascii() or not byte_of.keys() >= set(name):
            tokens.append(name.encode())
        else:
            tokens.append(bytes(map(byte_of.__getitem__, name)))
    return tokens


def _has(spec: Any, expected: dict[str, Any]) -> bool:
    return isinstance(spec, dict) and expected.items() <= spec.items()


def _byte_chars() -> list[str]:
    """ByteLevel's character for each byte: itself if printable, else a character from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    unprintable = [byte for byte in range(256) if byte not in printable]
    return [
        chr(byte) if byte in printable else chr(0x100 + unprintable.index(byte))
        for byte in range(256)
    ]
