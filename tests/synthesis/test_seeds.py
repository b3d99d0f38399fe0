"""Seeds are a function of the selection, and never of the held-out split."""

from pathlib import Path

import pytest

from snow_assets.storage import shards
from snow_assets.synthesis import seeds
from snow_resources.lake import Lake
from tests.synthesis.builders import a_module, a_recipe, a_subset

JAVASCRIPT = "function add(first, second) {\n  return first + second;\n}\n"


def a_lake(folder: Path) -> Lake:
    return Lake(url=str(folder / "lake"))


def two_languages(lake: Lake) -> list[seeds.LanguageSelection]:
    python = {f"repository-{number}": a_module(f"topic{number}") for number in range(3)}
    pairs = [
        a_subset(lake, "python", python),
        a_subset(lake, "javascript", {"other": JAVASCRIPT}),
    ]
    return [seeds.read_selection(subset, clean) for subset, clean in pairs]


def rows_of(folder: str) -> list[dict[str, str]]:
    return [
        row
        for entry in shards.records(folder)
        for row in shards.read_shard(folder, entry.name).to_pylist()
    ]


def test_a_seed_is_at_most_so_many_consecutive_lines_of_its_document(tmp_path: Path) -> None:
    text = a_module("topic")
    for number in range(50):
        found = seeds.snippet(text, seed_lines=15, identity=str(number), seed=0)
        assert found in text
        assert 1 <= len(found.splitlines()) <= 15


def test_a_text_without_a_word_gives_no_seed() -> None:
    assert seeds.snippet("{\n}\n", seed_lines=15, identity="a", seed=0) == ""


def test_half_the_seeds_are_python_and_chunks_are_full(tmp_path: Path) -> None:
    selected = two_languages(a_lake(tmp_path))
    folder = str(tmp_path / "out")
    seeds.write_seeds(folder, selected, recipe=a_recipe(num_requests=10), prompt_version="1")
    rows = rows_of(folder)
    assert [row["language"] for row in rows].count("python") == 5
    assert [entry.num_rows for entry in shards.records(folder)] == [4, 4, 2]


def test_a_share_of_the_requests_are_whole_files_that_fit_a_completion(tmp_path: Path) -> None:
    texts = {f"repository-{number}": a_module(f"topic{number}") for number in range(4)}
    texts["long"] = "".join(a_module(f"long{number}") for number in range(9))
    lake = a_lake(tmp_path)
    selection = seeds.read_selection(*a_subset(lake, "python", texts))
    folder = str(tmp_path / "out")
    recipe = a_recipe(num_requests=16, rewrite_fraction=0.75, max_new_tokens=320)
    seeds.write_seeds(folder, [selection], recipe=recipe, prompt_version="1")
    rows = rows_of(folder)
    assert [row["mode"] for row in rows].count("rewrite") == 12
    for row in rows:
        is_whole = row["snippet"] == texts[row["seed_repository"]].rstrip()
        assert is_whole is (row["mode"] == "rewrite")
    rewritten = {row["seed_repository"] for row in rows if row["mode"] == "rewrite"}
    assert rewritten == set(texts) - {"long"}
    assert len({row["document_id"] for row in rows}) == 16


def test_without_a_selected_file_that_fits_a_completion_rewriting_is_refused(
    tmp_path: Path,
) -> None:
    selection = seeds.read_selection(*a_subset(a_lake(tmp_path), "python", {"a": a_module("one")}))
    with pytest.raises(ValueError, match=r"no selected python document has at most 8 tokens"):
        seeds.write_seeds(
            str(tmp_path / "out"),
            [selection],
            recipe=a_recipe(rewrite_fraction=0.5, max_new_tokens=8),
            prompt_version="1",
        )


def test_every_request_has_its_own_id_though_documents_repeat(tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    selected = two_languages(a_lake(tmp_path))
    seeds.write_seeds(folder, selected, recipe=a_recipe(num_requests=20), prompt_version="1")
    names = [row["document_id"] for row in rows_of(folder)]
    assert len(set(names)) == 20


def test_the_same_selection_gives_the_same_bytes(tmp_path: Path) -> None:
    selected = two_languages(a_lake(tmp_path))
    for name in ("one", "two"):
        seeds.write_seeds(str(tmp_path / name), selected, recipe=a_recipe(), prompt_version="1")
    one, two = (shards.records(str(tmp_path / name)) for name in ("one", "two"))
    assert shards.content_digest(one) == shards.content_digest(two)
    seeds.write_seeds(
        str(tmp_path / "three"), selected, recipe=a_recipe(seed=1), prompt_version="1"
    )
    assert shards.content_digest(shards.records(str(tmp_path / "three"))) != shards.content_digest(
        one
    )


def test_a_selected_document_that_is_held_out_is_refused(tmp_path: Path) -> None:
    pair = a_subset(
        a_lake(tmp_path),
        "python",
        {"kept": a_module("one"), "away": a_module("two")},
        held_out=["away"],
    )
    with pytest.raises(ValueError, match="has no trainable document"):
        seeds.write_seeds(
            str(tmp_path / "out"),
            [seeds.read_selection(*pair)],
            recipe=a_recipe(),
            prompt_version="1",
        )


def test_other_languages_share_by_their_tokens_and_the_sum_is_exact() -> None:
    selected = [
        seeds.LanguageSelection(
            language=name, document_ids=["a"], document_tokens=[tokens], clean_folder=""
        )
        for name, tokens in (("python", 1), ("c", 200), ("sql", 100), ("java", 1))
    ]
    counts = seeds.allocate_requests(selected, requests=21, python_fraction=0.5)
    assert counts["python"] == 10
    assert sum(counts.values()) == 21
    assert counts["c"] > counts["sql"] > counts["java"]


def test_python_asked_for_and_not_there_names_the_remedy() -> None:
    selected = [
        seeds.LanguageSelection(
            language="c", document_ids=["a"], document_tokens=[1], clean_folder=""
        )
    ]
    with pytest.raises(ValueError, match=r"python_fraction is 0\.5 .* set it to 0"):
        seeds.allocate_requests(selected, requests=4, python_fraction=0.5)


def test_an_empty_selection_is_an_error() -> None:
    with pytest.raises(ValueError, match="no language has a selected document"):
        seeds.allocate_requests([], requests=4, python_fraction=0.5)
