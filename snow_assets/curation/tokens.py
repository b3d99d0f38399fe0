"""The tokenizer as every stage reads it, and its special tokens.

Hugging Face's library defines what a text's ids are. tiktoken finds the same ones in a fifth of the
time, where it can: for byte-level BPE whose tokens are numbered in the order of their merges.
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

from snow_assets import shards

if TYPE_CHECKING:
    import tiktoken

END_OF_TEXT = "<|endoftext|>"
PAD = "<pad>"
REPO_NAME = "<repo_name>"
FILE_SEP = "<file_sep>"
FIM_PREFIX = "<fim_prefix>"
FIM_MIDDLE = "<fim_middle>"
FIM_SUFFIX = "<fim_suffix>"

# The names are StarCoder2's (arXiv 2402.19173), so that its tools read our files.
SPECIAL_TOKENS = (END_OF_TEXT, PAD, REPO_NAME, FILE_SEP, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX)

FOLDER = "tokenizer"
"""Where a `tokenizer` generation holds its files."""


def load_tokenizer(folder: str) -> Tokenizer:
    """The tokenizer of a `tokenizer` generation, or of a folder that holds a tokenizer.json.

    A text that spells a special token is plain text to it: only `token_to_id` makes special ones.
    """
    for name in (f"{FOLDER}/tokenizer.json", "tokenizer.json"):
        if shards.exists(shards.join(folder, name)):
            # Compared with its record; a folder from outside has none.
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
        "tokenizer.given, or None to train one"
    )


def fetch_tokenizer(folder: str) -> Path:
    """A generation's tokenizer as a local folder for AutoTokenizer; the caller deletes a copy."""
    return shards.fetch_folder(folder, Path(tempfile.mkdtemp(prefix="tokenizer-")), prefix=FOLDER)


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Tokens of each text, without any that marks its beginning or end."""
    return [len(ids) for ids in token_ids(tokenizer, texts)]


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, without any that marks its beginning or end."""
    fast = _tiktoken(tokenizer) if tokenizer.encode_special_tokens else None
    if fast is None:
        encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [one.ids for one in encoded]
    is_blank = [len(text) >= _BLANKS and _BLANK.search(text) is not None for text in texts]
    short = [text for text, blank in zip(texts, is_blank, strict=True) if not blank]
    found = iter(fast.encode_ordinary_batch(short, num_threads=os.cpu_count() or 1))
    return [
        tokenizer.encode(text, add_special_tokens=False).ids if blank else next(found)
        for text, blank in zip(texts, is_blank, strict=True)
    ]


# In a run of so many blanks, or of ten times as many, tiktoken's expressions run out of stack.
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


@lru_cache(maxsize=4)  # of tokenizers as objects: nobody changes one that has read a text
def _tiktoken(tokenizer: Tokenizer) -> "tiktoken.Encoding | None":
    """The same tokenizer in tiktoken, or None if it may find other ids."""
    spec = json.loads(tokenizer.to_str())
    model = spec["model"]
    steps = (spec["pre_tokenizer"] or {}).get("pretokenizers", [spec["pre_tokenizer"]])
    has_digits = len(steps) == 2 and _has(steps[0], _DIGITS)
    is_known = (
        _has(model, _PLAIN_BPE)
        and spec["normalizer"] is spec["truncation"] is spec["padding"] is None
        and all(token["special"] for token in spec["added_tokens"])
        and len(steps) == 1 + has_digits
        and _has(steps[-1], _BYTE_LEVEL)
    )
    if not is_known:
        return None
    ids: dict[str, int] = model["vocab"]
    byte_of = {char: byte for byte, char in enumerate(_byte_chars())}
    merged = ["".join(pair) for pair in model["merges"]]
    order = [ids[name] for name in merged]
    if not byte_of.keys() <= ids.keys() or order != sorted(order):
        return None
    import tiktoken

    return tiktoken.Encoding(
        "from tokenizer.json",
        pat_str=_SPLITS[has_digits],
        mergeable_ranks={
            bytes(map(byte_of.__getitem__, name)): ids[name] for name in [*byte_of, *merged]
        },
        special_tokens={},
    )


def _has(given: Any, wanted: dict[str, Any]) -> bool:
    return isinstance(given, dict) and wanted.items() <= given.items()


def _byte_chars() -> list[str]:
    """ByteLevel's character for each byte: itself if it shows, else one from U+0100 on."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) if byte in shown else chr(0x100 + hidden.index(byte)) for byte in range(256)]
