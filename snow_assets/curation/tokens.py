"""The tokenizer as every stage reads it, and its special tokens."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from snow_assets import shards

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
    for parts in ((FOLDER, "tokenizer.json"), ("tokenizer.json",)):
        if shards.exists(shards.join(folder, *parts)):
            tokenizer = Tokenizer.from_str(shards.get(shards.join(folder, *parts)).decode())
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
    encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [len(entry.ids) for entry in encoded]
