import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from snow_assets import shards
from snow_assets.curation import tokens
from snow_assets.curation.tokenizer_training import put_given_tokenizer, tokenizer_settings, train
from snow_assets.curation.tokens import (
    END_OF_TEXT,
    SPECIAL_TOKENS,
    count_tokens,
    fetch_tokenizer,
    load_tokenizer,
    token_ids,
)  # fmt: skip
from tests.curation.builders import RECIPE, a_file, a_program, clean_corpora

TEXTS = [a_program(f"text{n}") for n in range(20)] + ["naïve = '漢字 🦆'\r\n\tx = 1234"]
EXAMPLES = int(os.environ.get("SNOW_FUZZ_EXAMPLES", "300"))
TRAINED = train(iter(TEXTS), vocabulary=500)
TRAINED.encode_special_tokens = True


def test_the_same_texts_train_the_same_tokenizer() -> None:
    one, other = (train(iter(TEXTS), vocabulary=500).to_str() for _ in range(2))
    assert one == other


def test_decoding_gives_back_every_text() -> None:
    tokenizer = train(iter(TEXTS), vocabulary=400)
    assert tokenizer.get_vocab_size() == 400
    for text in [*TEXTS, "  x\n\n\ty  \u2028", END_OF_TEXT]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


@pytest.mark.slow  # importing transformers
def test_a_trained_generation_loads_here_and_in_transformers(lake_url: str) -> None:
    from transformers import AutoTokenizer

    files = [a_file(f"{n}.py", text) for n, text in enumerate(TEXTS)]
    clean = clean_corpora(lake_url, files)["python"]
    folder = shards.input_folders(clean, "tokenizer")[0]
    ours = load_tokenizer(folder)
    theirs = AutoTokenizer.from_pretrained(str(fetch_tokenizer(folder)))
    text = TEXTS[0]
    assert theirs.encode(text, add_special_tokens=False) == ours.encode(text).ids
    assert theirs.decode(ours.encode(text).ids) == text
    assert theirs.eos_token == END_OF_TEXT and theirs.pad_token == "<pad>"
    assert {ours.token_to_id(token) for token in SPECIAL_TOKENS} == set(range(7))
    assert set(SPECIAL_TOKENS) <= set(theirs.all_special_tokens)
    assert len(theirs) == ours.get_vocab_size() <= RECIPE.tokenizer.vocabulary


def test_a_text_that_spells_a_special_token_holds_none(tmp_path: Path) -> None:
    tokenizer = train(iter(TEXTS), vocabulary=400)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str())
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.token_to_id(END_OF_TEXT) not in loaded.encode(f"x = '{END_OF_TEXT}'").ids
    assert count_tokens(loaded, ["", END_OF_TEXT])[0] == 0


@pytest.mark.parametrize("has_digits", [True, False])
def test_tiktoken_finds_the_ids_that_tokenizers_finds(has_digits: bool) -> None:
    sources = [path.read_text() for path in sorted(Path(json.__file__).parent.glob("*.py"))]
    tokenizer = train(iter(sources), vocabulary=2_000)
    if not has_digits:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.encode_special_tokens = True
    texts = [
        *sources, "", " ", "\n\n  x", "a  1", "a 1  ", "x\t\t12 \u3000 3", "it's 1's 'll",
        "²½Ⅷ٣ 四",
        "é\u0301ß", "\r\n \r\n", "\x00\x01", "😀 漢字", f"a{END_OF_TEXT}b", " " * 1_000 + "7",
        " " * 99_999 + "1", " " * 99_999 + "a", "\n" * 1_000_000, "a" * 100_000 + " " * 1_000_000,
    ]  # fmt: skip
    plain = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    assert tokens._tiktoken(tokenizer) is not None
    assert token_ids(tokenizer, texts) == plain


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab_ \t\n19'sl²é漢\u3000!=."), max_size=40), max_size=8))
def test_tiktoken_finds_the_same_ids_in_any_text(texts: list[str]) -> None:
    plain = [one.ids for one in TRAINED.encode_batch(texts, add_special_tokens=False)]
    assert token_ids(TRAINED, texts) == plain


def test_a_tokenizer_that_tiktoken_would_read_otherwise_is_left_alone() -> None:
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
        lower, whole, lambda one: one.add_tokens(["abab"]), lambda one: one.enable_truncation(9),
    ):  # fmt: skip
        tokenizer = changed(change)
        assert tokens._tiktoken(tokenizer) is None
        plain = tokenizer.encode("ABAB abab 12", add_special_tokens=False).ids
        assert token_ids(tokenizer, ["ABAB abab 12"]) == [plain]


def test_a_given_tokenizer_is_taken_with_the_special_tokens_added(tmp_path: Path) -> None:
    folder = str(tmp_path / "tokenizer" / "all" / "0")
    place = tmp_path / "given"
    place.mkdir()
    Tokenizer(models.BPE({"a": 0, "b": 1}, [])).save(str(place / "tokenizer.json"))
    facts = put_given_tokenizer(str(place), folder, vocabulary=9)
    assert facts == {"vocabulary": 9, "is_trained": False}
    assert load_tokenizer(folder).token_to_id(END_OF_TEXT) == 2
    with pytest.raises(ValueError, match=r"9 tokens with the special ones, more than .* 8"):
        put_given_tokenizer(str(place), folder, vocabulary=8)


def test_a_missing_given_folder_names_itself_and_the_remedy(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    recipe = dataclasses.replace(
        RECIPE, tokenizer=dataclasses.replace(RECIPE.tokenizer, given=missing)
    )
    with pytest.raises(FileNotFoundError, match=r"nowhere.*holds no tokenizer.json"):
        tokenizer_settings(recipe)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_tokenizer(missing)
