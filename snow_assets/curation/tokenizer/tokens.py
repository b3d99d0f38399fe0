"""Load the tokenizer; the special tokens. `encoding` tokenizes texts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from snow_assets.storage import shards

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


@dataclass(frozen=True)
class SharedTokenizer:
    """A tokenizer that a process which gets it several times, pickled, builds once.

    So what is cached by tokenizer (`encoding`) is built once, too.
    """

    tokenizer: Tokenizer

    def __reduce__(self) -> tuple[Callable[..., "SharedTokenizer"], tuple[Any, ...]]:
        return _shared_tokenizer, (self.tokenizer.to_str(), self.tokenizer.encode_special_tokens)


@lru_cache(maxsize=2)
def _shared_tokenizer(content: str, encode_special_tokens: bool) -> SharedTokenizer:
    tokenizer = Tokenizer.from_str(content)
    tokenizer.encode_special_tokens = encode_special_tokens
    return SharedTokenizer(tokenizer)


def fetch_tokenizer(folder: str, local: Path) -> Path:
    """An artifact's tokenizer as a local folder for AutoTokenizer; of an object store, `local`."""
    return shards.fetch_folder(folder, local, prefix=FOLDER)
