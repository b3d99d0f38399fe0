"""Validate a pretrained tokenizer.json before its first use.

Round trips are tested on samples, which do not prove that all texts are preserved; the samples
contain what tokenizers commonly lose: case, tabs, line ends, runs of blanks, composed and
decomposed letters, characters outside a vocabulary, and texts that spell special tokens.
"""

import json
from collections.abc import Iterator
from itertools import pairwise

from tokenizers import Tokenizer

from snow_assets.curation.tokenizer.tokens import SPECIAL_TOKENS

ROUND_TRIP_SAMPLES = (
    "def area(w, h):\n    return w * h\n",
    "if (a) {\n\tb();\n\t\tc(1,  2);\n}\n",
    "line\r\nnext\r\n\r\nlast\r",
    "  leading and trailing  ",
    "\n\n\n\ttabs\tand   blanks \n \n",
    "MixedCase CONSTANT_NAME camelCase",
    "x = 3.14159e-10 + 0xFF_FF - 1234567890",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "don't I'll we've it's ' s",
    "na\u00efve na\u0131\u0308ve e\u0301 \u00e9 \u212b \ufb01 \u00bd \u2460",
    "\u6f22\u5b57 \u304b\u306a \ud55c\uad6d\uc5b4 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U0001f986 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "\ufeffbom \u200bzero\u00a0width \u2028 \u3000 \u00ad",
    "\x00\x01\x07\x0b\x0c\x1b\x7f\x85",
    "".join(map(chr, range(0x20, 0x180))),
    "\u0430\u0431\u0432 \u03b1\u03b2\u03b3 \u05d0\u05d1 \u0e01\u0e02 \U00010348 \ufffd \uffff",
    "a" * 300 + " " * 300 + "\n" * 30,
)
"""Texts that a tokenizer must decode exactly."""

_SHOWN_CHARS = 40
_MAX_SHOWN = 3


def tokenizer_violations(content: bytes, *, vocab_size: int) -> list[str]:
    """The violations of a tokenizer.json, each with its remedy; empty if it is valid.

    `vocabulary` is the size of the model's embedding: all ids, also of special tokens, are below.
    """
    try:
        spec = json.loads(content)
        tokenizer = Tokenizer.from_str(content.decode())
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for foreign bytes
        return [f"it cannot be read as a tokenizer ({error}): save it with the tokenizers library"]
    settings = list(_settings_violations(spec))
    if settings:
        return settings  # they would cause further violations below
    own = {str(entry["content"]) for entry in spec.get("added_tokens") or ()}
    holes = list(_id_violations(tokenizer))
    if holes:
        return holes
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.encode_special_tokens = True
    lost = list(_round_trip_violations(tokenizer))
    added = sorted({*own, *SPECIAL_TOKENS})
    return [
        *_size_violations(tokenizer, vocab_size),
        *(lost or _added_token_violations(tokenizer, added)),
    ]


def _settings_violations(spec: dict[str, object]) -> Iterator[str]:
    if spec.get("truncation") is not None:
        yield (
            f"it truncates every text ({_shown(spec['truncation'])}): call `no_truncation()` on "
            "it and save it again"
        )
    if spec.get("padding") is not None:
        yield (
            f"it pads every text ({_shown(spec['padding'])}): call `no_padding()` on it and save "
            "it again"
        )
    model = spec.get("model")
    if isinstance(model, dict) and model.get("dropout"):
        yield (
            f"its model drops merges at random (dropout {model['dropout']}), so that counts differ "
            "between runs: set dropout to null"
        )


def _id_violations(tokenizer: Tokenizer) -> Iterator[str]:
    ids = sorted(tokenizer.get_vocab(with_added_tokens=True).values())
    if not ids:
        yield "its vocabulary is empty: name another folder"
        return
    if len(set(ids)) != len(ids):
        duplicate = next(low for low, high in pairwise(ids) if low == high)
        yield f"two tokens have the id {duplicate}: give each token its own"
    elif ids[-1] + 1 != len(ids):
        missing = next((index for index, value in enumerate(ids) if index != value), 0)
        yield (
            f"its {len(ids)} tokens have ids up to {ids[-1]}, and no token has the id {missing}: "
            f"number them from 0 to {len(ids) - 1}, the model's embedding has a row for each id"
        )


def _size_violations(tokenizer: Tokenizer, vocab_size: int) -> Iterator[str]:
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    if size > vocab_size:
        yield (
            f"it has {size} tokens with the special ones, more than the recipe's vocab_size of "
            f"{vocab_size}: raise it, the model's embedding has that size"
        )


def _round_trip_violations(tokenizer: Tokenizer) -> Iterator[str]:
    lost = [text for text in ROUND_TRIP_SAMPLES if _round_trip(tokenizer, text) != text]
    for text in lost[:_MAX_SHOWN]:
        yield (
            f"{_difference(text, _round_trip(tokenizer, text))}: take a byte-level BPE without a "
            "normalizer and with add_prefix_space false"
        )
    if len(lost) > _MAX_SHOWN:
        yield f"{len(lost)} of {len(ROUND_TRIP_SAMPLES)} samples do not come back"


def _added_token_violations(tokenizer: Tokenizer, added: list[str]) -> Iterator[str]:
    """Added tokens that a text could spell: as special ones, or with white space around them."""
    special = {tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    count = 0
    for token in added:
        text = f"a = 1  {token}  + 'b{token}c'\n"
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if special & set(ids):
            yield f"a text that spells {token} becomes that special token: mark it as special"
        elif tokenizer.decode(ids, skip_special_tokens=True) != text:
            yield (
                f"the added token {token!r} changes the text around it or is left out of what is "
                "decoded: add it without lstrip, rstrip and normalized, or leave it out"
            )
        else:
            continue
        count += 1
        if count == _MAX_SHOWN:
            return


def _round_trip(tokenizer: Tokenizer, text: str) -> str:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def _difference(text: str, decoded: str) -> str:
    """The first difference between a text and its round trip."""
    pairs = zip(text, decoded, strict=False)
    difference = next((index for index, (left, right) in enumerate(pairs) if left != right), None)
    offset = min(len(text), len(decoded)) if difference is None else difference
    window = slice(max(0, offset - 8), offset + 16)
    return f"{text[window]!r} comes back as {decoded[window]!r}"


def _shown(value: object) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 2 * _SHOWN_CHARS else text[: 2 * _SHOWN_CHARS] + "..."
