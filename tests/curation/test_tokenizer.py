import dataclasses
from pathlib import Path

import pytest

from snow_assets import shards
from snow_assets.curation.tokenizer_training import put_given_tokenizer, tokenizer_settings, train
from snow_assets.curation.tokens import (
    END_OF_TEXT,
    SPECIAL_TOKENS,
    count_tokens,
    fetch_tokenizer,
    load_tokenizer,
)  # fmt: skip
from tests.curation.builders import RECIPE, a_file, a_program, clean_corpora

TEXTS = [a_program(f"text{n}") for n in range(20)] + ["naïve = '漢字 🦆'\r\n\tx = 1234"]


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


def test_a_given_tokenizer_is_taken_with_the_special_tokens_added(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    given, folder = tmp_path / "given", str(tmp_path / "tokenizer" / "all" / "0")
    given.mkdir()
    Tokenizer(models.BPE({"a": 0, "b": 1}, [])).save(str(given / "tokenizer.json"))
    facts = put_given_tokenizer(str(given), folder, vocabulary=9)
    assert facts == {"vocabulary": 9, "is_trained": False}
    assert load_tokenizer(folder).token_to_id(END_OF_TEXT) == 2
    with pytest.raises(ValueError, match=r"9 tokens with the special ones, more than .* 8"):
        put_given_tokenizer(str(given), folder, vocabulary=8)


def test_a_missing_given_folder_names_itself_and_the_remedy(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere")
    recipe = dataclasses.replace(
        RECIPE, tokenizer=dataclasses.replace(RECIPE.tokenizer, given=missing)
    )
    with pytest.raises(FileNotFoundError, match=r"nowhere.*holds no tokenizer.json"):
        tokenizer_settings(recipe)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_tokenizer(missing)
