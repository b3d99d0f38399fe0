import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from snow_assets.curation.tokenizer import encoding
from snow_assets.curation.tokenizer.encoding import count_tokens, token_ids
from snow_assets.curation.tokenizer.tokens import (
    END_OF_TEXT,
    SPECIAL_TOKENS,
    fetch_tokenizer,
    load_tokenizer,
)
from snow_assets.curation.tokenizer.training import (
    put_pretrained_tokenizer,
    tokenizer_settings,
    train,
)
from snow_assets.curation.tokenizer.validation import tokenizer_violations
from snow_assets.storage import shards
from tests.curation.builders import RECIPE, a_file, a_program, clean_corpora

TEXTS = [a_program(f"text{n}") for n in range(20)] + ["naïve = '漢字 🦆'\r\n\tx = 1234"]
CASES = Path(__file__).resolve().parents[1] / "cases"
EXAMPLES = int(os.environ.get("SNOW_FUZZ_EXAMPLES", "300"))
TRAINED = train(iter(TEXTS), vocab_size=500)
TRAINED.encode_special_tokens = True


def ids_of(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [ids.tolist() for ids in token_ids(tokenizer, texts).split()]


def test_the_same_texts_train_the_same_tokenizer() -> None:
    one, other = (train(iter(TEXTS), vocab_size=500).to_str() for _ in range(2))
    assert one == other


def test_decoding_gives_back_every_text() -> None:
    tokenizer = train(iter(TEXTS), vocab_size=400)
    assert tokenizer.get_vocab_size() == 400
    for text in [*TEXTS, "  x\n\n\ty  \u2028", END_OF_TEXT]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


@pytest.mark.slow  # importing transformers
def test_a_trained_artifact_loads_here_and_in_transformers(lake_url: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    files = [a_file(f"{n}.py", text) for n, text in enumerate(TEXTS)]
    clean = clean_corpora(lake_url, files)["python"]
    folder = shards.input_folders(clean, "tokenizer")[0]
    ours = load_tokenizer(folder)
    theirs = AutoTokenizer.from_pretrained(str(fetch_tokenizer(folder, tmp_path)))
    text = TEXTS[0]
    assert theirs.encode(text, add_special_tokens=False) == ours.encode(text).ids
    assert theirs.decode(ours.encode(text).ids) == text
    assert theirs.eos_token == END_OF_TEXT and theirs.pad_token == "<pad>"
    assert {ours.token_to_id(token) for token in SPECIAL_TOKENS} == set(range(7))
    assert set(SPECIAL_TOKENS) <= set(theirs.all_special_tokens)
    assert len(theirs) == ours.get_vocab_size() <= RECIPE.tokenizer.vocab_size


def test_a_text_that_spells_a_special_token_holds_none(tmp_path: Path) -> None:
    tokenizer = train(iter(TEXTS), vocab_size=400)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.token_to_id(END_OF_TEXT) not in loaded.encode(f"x = '{END_OF_TEXT}'").ids
    assert count_tokens(loaded, ["", END_OF_TEXT])[0] == 0


@pytest.mark.parametrize("has_digits", [True, False])
def test_the_fast_encodings_find_the_ids_that_tokenizers_finds(has_digits: bool) -> None:
    sources = [path.read_text() for path in sorted(Path(json.__file__).parent.glob("*.py"))]
    tokenizer = train(iter(sources), vocab_size=2_000)
    if not has_digits:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.encode_special_tokens = True
    texts = [
        *sources,
        "",
        " ",
        "\n\n  x",
        "a  1",
        "a 1  ",
        "x\t\t12 \u3000 3",
        "it's 1's 'll",
        "²½Ⅷ٣ 四",
        "é\u0301ß",
        "\r\n \r\n",
        "\x00\x01",
        "😀 漢字",
        f"a{END_OF_TEXT}b",
        " " * 1_000 + "7",
        " " * 99_999 + "1",
        " " * 99_999 + "a",
        "\n" * 1_000_000,
        "a" * 100_000 + " " * 1_000_000,
    ]
    plain = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert encoding._gigatoken(tokenizer) is not None
    assert ids_of(tokenizer, texts) == plain


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab_ \t\n19'sl²é漢\u3000!=."), max_size=40), max_size=8))
def test_the_fast_encodings_find_the_same_ids_in_any_text(texts: list[str]) -> None:
    plain = [one.ids for one in TRAINED.encode_batch(texts, add_special_tokens=False)]
    assert ids_of(TRAINED, texts) == plain


def test_a_tokenizer_that_they_would_read_otherwise_is_left_alone() -> None:
    def changed(change: Callable[[Tokenizer], object]) -> Tokenizer:
        tokenizer = Tokenizer.from_str(TRAINED.to_str())
        tokenizer.encode_special_tokens = True
        change(tokenizer)
        return tokenizer

    def lower(tokenizer: Tokenizer) -> None:
        tokenizer.normalizer = normalizers.Lowercase()

    def whole(tokenizer: Tokenizer) -> None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(False, use_regex=False)

    for change in (
        lower,
        whole,
        lambda one: one.add_tokens(["abab"]),
        lambda one: one.enable_truncation(9),
    ):
        tokenizer = changed(change)
        assert encoding._gigatoken(tokenizer) is None
        plain = tokenizer.encode("ABAB abab 12", add_special_tokens=False).ids
        assert ids_of(tokenizer, ["ABAB abab 12"]) == [plain]


def a_byte_level_tokenizer() -> Tokenizer:
    """All bytes and a few merges, without special tokens: 260 tokens."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=260, show_progress=False, initial_alphabet=alphabet)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def violations(change: Callable[[Tokenizer], object], *, vocab_size: int = 300) -> str:
    tokenizer = a_byte_level_tokenizer()
    change(tokenizer)
    return "; ".join(tokenizer_violations(tokenizer.to_str().encode(), vocab_size=vocab_size))


def test_a_given_tokenizer_is_taken_with_the_special_tokens_added(tmp_path: Path) -> None:
    folder = str(tmp_path / "tokenizer" / "all" / "0")
    place = tmp_path / "given"
    place.mkdir()
    a_byte_level_tokenizer().save(str(place / "tokenizer.json"))
    stats = put_pretrained_tokenizer(str(place), folder, vocab_size=267)
    assert stats == {"vocabulary": 267, "is_trained": False}
    assert load_tokenizer(folder).token_to_id(END_OF_TEXT) == 260
    with pytest.raises(ValueError, match=r"267 tokens with the special ones, more than .* 266"):
        put_pretrained_tokenizer(str(place), folder, vocab_size=266)


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("50-tokenizer-truncates/truncated", r"truncates every text .*128.*no_truncation\(\)"),
        ("51-tokenizer-with-hole", r"256 tokens have ids up to 5000, .* from 0 to 255"),
    ],
)
def test_a_given_tokenizer_is_refused_before_anything_is_counted(
    tmp_path: Path, folder: str, message: str
) -> None:
    given = str(CASES / folder)
    with pytest.raises(ValueError, match=message):
        put_pretrained_tokenizer(given, str(tmp_path), vocab_size=600)
    recipe = dataclasses.replace(
        RECIPE, tokenizer=dataclasses.replace(RECIPE.tokenizer, pretrained=given)
    )
    with pytest.raises(ValueError, match=message):  # `make plan` says it
        tokenizer_settings(recipe)
    assert list(tmp_path.iterdir()) == []


def test_a_given_tokenizer_that_pads_is_refused() -> None:
    assert "no_padding()" in violations(lambda it: it.enable_padding(length=8))


def test_a_given_tokenizer_that_drops_merges_at_random_is_refused() -> None:
    def set_dropout(tokenizer: Tokenizer) -> None:
        tokenizer.model.dropout = 0.1

    assert "dropout 0.1" in violations(set_dropout)


@pytest.mark.parametrize(
    "normalizer",
    [
        normalizers.Lowercase(),
        normalizers.NFC(),
        normalizers.NFKC(),
        normalizers.NFD(),
        normalizers.Strip(),
        normalizers.StripAccents(),
        normalizers.Replace("\r\n", "\n"),
        normalizers.Replace("\t", "    "),
        normalizers.BertNormalizer(lowercase=False),
    ],
)
def test_a_given_tokenizer_whose_normalizer_loses_text_is_refused(normalizer: Any) -> None:
    def normalize(tokenizer: Tokenizer) -> None:
        tokenizer.normalizer = normalizer

    assert "comes back as" in violations(normalize)


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.Whitespace(),
        pre_tokenizers.Split(" ", "removed"),
    ],
)
def test_a_given_tokenizer_whose_splitting_loses_text_is_refused(pre_tokenizer: Any) -> None:
    def split(tokenizer: Tokenizer) -> None:
        tokenizer.pre_tokenizer = pre_tokenizer

    assert "comes back as" in violations(split)


def test_a_given_tokenizer_with_an_incomplete_alphabet_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    (*_, last) = tokenizer_violations(tokenizer.to_str().encode(), vocab_size=300)
    assert "samples do not come back" in last


@pytest.mark.parametrize("side", ["lstrip", "rstrip"])
def test_an_added_token_that_changes_the_text_around_it_is_refused(side: str) -> None:
    token = AddedToken("@@", **{side: True})
    assert "'@@' changes the text around it" in violations(lambda it: it.add_tokens([token]))


def test_added_tokens_that_leave_the_text_alone_are_taken() -> None:
    assert violations(lambda it: it.add_tokens(["@@"])) == ""
    assert violations(lambda it: it.add_special_tokens(["<s>", END_OF_TEXT])) == ""


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{}", b"[]", b'{"model": {}}'])
def test_a_given_file_that_is_no_tokenizer_is_refused(content: bytes) -> None:
    (message,) = tokenizer_violations(content, vocab_size=300)
    assert "cannot be read as a tokenizer" in message


def test_code_that_spells_special_tokens_stays_text() -> None:
    text = (CASES / "53-endoftext-in-code/src/lib/eot.py").read_text()
    ids = TRAINED.encode(text, add_special_tokens=False).ids
    assert not {TRAINED.token_to_id(token) for token in SPECIAL_TOKENS} & set(ids)
    assert TRAINED.decode(ids, skip_special_tokens=True) == text
    assert ids_of(TRAINED, [text]) == [ids]


def test_a_missing_given_folder_names_itself_and_the_remedy(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    recipe = dataclasses.replace(
        RECIPE, tokenizer=dataclasses.replace(RECIPE.tokenizer, pretrained=missing)
    )
    with pytest.raises(FileNotFoundError, match=r"nowhere.*holds no tokenizer.json"):
        tokenizer_settings(recipe)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_tokenizer(missing)
