"""Load the tokenizer and tokenize texts; the special tokens.

Hugging Face's library is the reference. tiktoken computes the same ids in a fifth of the time for
the tokenizers that it supports: byte-level BPE whose ids are in the order of the merges.
"""

import json
import os
import re
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from snow_assets.storage import shards

if TYPE_CHECKING:
    import tiktoken

END_OF_TEXT = "<|endoftext|>"
PAD = "<pad>"
REPO_NAME = "<repo_name>"
FILE_SEP = "<file_sep>"
FIM_PREFIX = "<fim_prefix>"
FIM_MIDDLE = "<fim_middle>"
FIM_SUFFIX = "<fim_suffix>"

# StarCoder2's names (arXiv 2402.19173), for compatibility with its tools.
SPECIAL_TOKENS = (END_OF_TEXT, PAD, REPO_NAME, FILE_SEP, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX)

FOLDER = "tokenizer"
"""The folder of the files in a `tokenizer` artifact."""


def load_tokenizer(folder: str) -> Tokenizer:
    """Load the tokenizer of a `tokenizer` artifact, or of a folder with a tokenizer.json.

    A text that spells a special token is encoded as plain text; only `token_to_id` returns the ids
    of special tokens.
    """
    for name in (f"{FOLDER}/tokenizer.json", "tokenizer.json"):
        if shards.exists(shards.join(folder, name)):
            # Verified against its record; an external folder has none.
            is_recorded = shards.exists(shards.join(folder, shards.record_name(name)))
            content = (
                shards.get_file(folder, name)
                if is_recorded
                else shards.get(shards.join(folder, name))
            )
            tokenizer = Tokenizer.from_str(content.decode())
            tokenizer.encode_special_tokens = True
            return tokenizer
    raise FileNotFoundError(
        f"{folder} holds no tokenizer.json: name a folder that does in the recipe's "
        "tokenizer.pretrained, or None to train one"
    )


def fetch_tokenizer(folder: str) -> Path:
    """An artifact's tokenizer as a local folder for AutoTokenizer; the caller deletes a copy."""
    return shards.fetch_folder(folder, Path(tempfile.mkdtemp(prefix="tokenizer-")), prefix=FOLDER)


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """The number of tokens of each text, without BOS and EOS tokens."""
    return [len(ids) for ids in token_ids(tokenizer, texts)]


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, without BOS and EOS tokens."""
    encoding = _tiktoken(tokenizer) if tokenizer.encode_special_tokens else None
    if encoding is None:
        encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoded_text.ids for encoded_text in encoded]
    is_blank = [len(text) >= _BLANKS and _BLANK.search(text) is not None for text in texts]
    regular_texts = [text for text, blank in zip(texts, is_blank, strict=True) if not blank]
    encoded_ids = iter(
        encoding.encode_ordinary_batch(regular_texts, num_threads=os.cpu_count() or 1)
    )
    return [
        tokenizer.encode(text, add_special_tokens=False).ids if blank else next(encoded_ids)
        for text, blank in zip(texts, is_blank, strict=True)
    ]


# tiktoken's regular expressions overflow the stack on runs of one to ten times this length.
_BLANKS = 100_000
_BLANK = re.compile(rf"\s{{{_BLANKS}}}")

# What ByteLevel splits at (GPT-2's expression), and the same after each digit has been split off.
_SPLITS = {
    False: r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    True: r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+",
}
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
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}


@lru_cache(maxsize=4)  # keyed by object: a tokenizer is not modified after its first use
def _tiktoken(tokenizer: Tokenizer) -> "tiktoken.Encoding | None":
    """The equivalent tiktoken encoding, or None if its ids could differ."""
    spec = json.loads(tokenizer.to_str())
    model = spec["model"]
    steps = (spec["pre_tokenizer"] or {}).get("pretokenizers", [spec["pre_tokenizer"]])
    has_digits = len(steps) == 2 and _has(steps[0], _DIGITS)
    is_supported = (
        _has(model, _PLAIN_BPE)
        and spec["normalizer"] is spec["truncation"] is spec["padding"] is None
        and all(token["special"] for token in spec["added_tokens"])
        and len(steps) == 1 + has_digits
        and _has(steps[-1], _BYTE_LEVEL)
    )
    if not is_supported:
        return None
    ids: dict[str, int] = model["vocab"]
    byte_of = {char: byte for byte, char in enumerate(_byte_chars())}
    merged_names = ["".join(pair) for pair in model["merges"]]
    merged_ids = [ids[name] for name in merged_names]
    if not byte_of.keys() <= ids.keys() or merged_ids != sorted(merged_ids):
        return None
    import tiktoken

    return tiktoken.Encoding(
        "from tokenizer.json",
        pat_str=_SPLITS[has_digits],
        mergeable_ranks={
            bytes(map(byte_of.__getitem__, name)): ids[name] for name in [*byte_of, *merged_names]
        },
        special_tokens={},
    )


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
