"""gigatoken's ids are Hugging Face's, whatever characters a text holds."""

import json
import sys
import unicodedata
from functools import cache

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from snow_assets.curation.tokenizer.encoding import count_tokens, token_ids
from snow_assets.curation.tokenizer.gigatoken_encoding import GigatokenEncoding
from tests.curation.test_tokenizer import TEXTS


@cache
def a_tokenizer(splits_digits: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Sequence([digits, byte_level]) if splits_digits else byte_level
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.encode_special_tokens = True
    return tokenizer


def an_encoding(splits_digits: bool) -> GigatokenEncoding:
    spec = json.loads(a_tokenizer(splits_digits).to_str())
    encoding = GigatokenEncoding.of(spec, splits_digits=splits_digits)
    assert encoding is not None
    return encoding


@pytest.mark.parametrize("splits_digits", [True, False])
def test_every_assigned_character_is_read_alike(splits_digits: bool) -> None:
    """Of letters without case, which are one class in long ranges, every eighth."""
    characters = [
        chr(code)
        for code in range(sys.maxunicode + 1)
        if (category := unicodedata.category(chr(code))) not in ("Cn", "Cs", "Co")
        and (category != "Lo" or code % 8 == 0)
    ]
    assert len(characters) > 25_000
    texts = [f"a{char}b 1{char}2 {char}{char} !{char}!  {char}\n{char}" for char in characters]
    ids, offsets, is_unsupported = an_encoding(splits_digits).encode(
        pa.array(texts, pa.large_string())
    )
    assert not is_unsupported.any()
    expected = a_tokenizer(splits_digits).encode_batch_fast(texts, add_special_tokens=False)
    for row, encoded in enumerate(expected):
        assert ids[offsets[row] : offsets[row + 1]].tolist() == encoded.ids, ascii(texts[row])


def test_an_unassigned_character_or_a_long_run_of_blanks_is_left_to_others() -> None:
    unassigned = "\U00010d40"  # a digit since Unicode 16
    assert unicodedata.category(unassigned) == "Cn"
    texts = ["a1", f"a{unassigned}b", " " * 100_000, "", " " * 99_999, "ab 12"]
    _, _, is_unsupported = an_encoding(True).encode(pa.array(texts, pa.large_string()))
    assert is_unsupported.tolist() == [False, True, True, False, False, False]
    expected = [
        encoded.ids for encoded in a_tokenizer(True).encode_batch(texts, add_special_tokens=False)
    ]
    encoded = token_ids(a_tokenizer(True), texts)
    assert [ids.tolist() for ids in encoded.split()] == expected
    assert count_tokens(a_tokenizer(True), texts) == [len(ids) for ids in expected]


def test_a_slice_of_a_column_and_no_texts_are_encoded() -> None:
    column = pa.array(["not this", "a1", "", "b"], pa.large_string())
    encoding = an_encoding(True)
    ids, offsets, _ = encoding.encode(column.slice(1))
    expected, expected_offsets, _ = encoding.encode(pa.array(["a1", "", "b"], pa.large_string()))
    assert (ids.tolist(), offsets.tolist()) == (expected.tolist(), expected_offsets.tolist())
    ids, offsets, is_unsupported = encoding.encode(column.slice(4))
    assert (ids.tolist(), offsets.tolist(), is_unsupported.tolist()) == ([], [0], [])
