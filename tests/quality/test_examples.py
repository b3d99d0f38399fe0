from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from snow_assets.quality import examples
from snow_assets.quality.examples import (
    config,
    match_by_length,
    validate_not_held_out,
    validate_repository_split,
)
from snow_assets.recipe import SMOKE, ExemplarRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import EXEMPLAR
from tests.artifacts import finish
from tests.curation.builders import a_file, a_program, clean_corpora
from tests.quality.builders import (
    GROUP,
    NEAR,
    a_recipe,
    corpus_files,
    drawn,
    exemplars,
    good_code,
    some_problems,
)
from tests.quality.conftest import Made

RECIPE = a_recipe("unused")


def rows(folder: str) -> list[dict[str, object]]:
    return shards.read(folder, "examples").to_pylist()


def test_train_and_validation_share_no_repository_and_nothing_is_held_out(made: Made) -> None:
    found = rows(made.examples)
    kinds = {(row["split"], row["is_positive"]) for row in found}
    assert kinds == {(split, good) for split in ("train", "validation") for good in (True, False)}
    assert validate_repository_split(made.examples) == []
    assert validate_not_held_out(made.examples, list(made.clean.values())) == []


def test_a_held_out_document_among_the_examples_is_found(made: Made, tmp_path: Path) -> None:
    decided = shards.read(made.clean["python"], "decisions").to_pylist()
    held_out = next(row for row in decided if row["split"] == "held_out")
    row = {**rows(made.examples)[0], **{n: held_out[n] for n in ("text_id", "repository")}}
    folder = str(tmp_path / "annotator_examples" / "all" / "x")
    shards.put_table(folder, "examples", 0, [row], examples.EXAMPLE)
    finish(folder)
    assert len(validate_not_held_out(folder, list(made.clean.values()))) == 2


def test_negatives_are_as_many_as_the_recipe_asks(made: Made) -> None:
    found = rows(made.examples)
    train = [row for row in found if row["split"] == "train"]
    assert sum(bool(row["is_positive"]) for row in train) * 2 == len(train)
    assert shards.manifest(made.examples).stats["train_negatives"] == len(train) // 2


def test_no_benchmark_solution_is_an_example(made: Made) -> None:
    texts = " ".join(str(row["text"]) for row in rows(made.examples))
    assert not [problem for problem in some_problems() if problem["solution"] in texts]


def test_the_same_inputs_make_the_same_examples(made: Made) -> None:
    before = shards.manifest(made.examples)
    again = made.lake + "/again"
    examples.write(
        again,
        exemplars_folder=f"{made.lake}/exemplars/all/{'0' * 32}",
        clean_folders=list(made.clean.values()),
        recipe=made.recipe,
        exemplars=SMOKE.exemplars,
        near_duplicates=NEAR,
    )
    assert shards.content_digest(shards.records(again)) == before.digest


def test_near_duplicates_of_positives_are_no_negatives(lake_url: str) -> None:
    copied = good_code("copied")
    near = copied + "\nEXTRA = 1\n"
    files = [*corpus_files(), a_file("copy.py", near, repository="copier")]
    clean = clean_corpora(lake_url, files)
    exemplars(lake_url, [("good-0", copied), ("good-1", good_code("b")), ("good-2", "C = 3\n")])
    # Every document would be drawn, but for the copy.
    folder = drawn(lake_url, clean, replace(RECIPE, negatives_per_positive=100.0))
    texts = [row["text"] for row in rows(folder)]
    assert copied in texts
    assert near not in texts
    assert shards.manifest(folder).stats["documents_like_positives"] == 1


def test_a_positive_like_a_held_out_document_is_left_out(lake_url: str) -> None:
    clean = clean_corpora(lake_url, corpus_files())
    decided = shards.read(clean["python"], "decisions").to_pylist()
    held_out = next(row for row in decided if row["split"] == "held_out")
    near = text_of(lake_url, held_out["text_id"]) + "\nEXTRA = 1\n"
    texts = [(f"good-{n}", good_code(str(n))) for n in range(3)]
    exemplars(lake_url, [*texts, ("good-0", near)])
    folder = drawn(lake_url, clean, RECIPE)
    assert near not in [row["text"] for row in rows(folder)]
    assert shards.manifest(folder).stats["positives_like_held_out_documents"] == 1


def text_of(lake: str, text_id: str) -> str:
    folder = f"{lake}/documents/src/{'0' * 32}"
    table = shards.read(folder, "documents", columns=["text_id", "text"]).to_pylist()
    return str(next(row["text"] for row in table if row["text_id"] == text_id))


def test_exemplars_of_one_repository_cannot_be_split(lake_url: str) -> None:
    clean = clean_corpora(lake_url, corpus_files())
    exemplars(lake_url, [("only", good_code("a")), ("only", good_code("b"))])
    with pytest.raises(ValueError, match=r"examples of 1 repositories \(only\)"):
        drawn(lake_url, clean, RECIPE)


def grouped(lake: str, counts: dict[str, int]) -> str:
    """A finished `exemplars` artifact with groups of so many texts, each of its own repository."""
    folder = f"{lake}/exemplars/all/{'0' * 32}"
    for index, (name, count) in enumerate(counts.items()):
        texts = [(f"{name}-{n}", good_code(f"{name} {n}")) for n in range(count)]
        other = shards.read(exemplars(f"{lake}-{name}", texts, group=name), "exemplars")
        shards.put_table(folder, "exemplars", index, other, EXEMPLAR)
    return finish(folder)


def groups(**values: tuple[int, float]) -> ExemplarRecipe:
    """Groups with their caps and weights."""
    return ExemplarRecipe(
        groups=tuple(
            replace(
                GROUP,
                source=replace(GROUP.source, name=name),
                max_positives=max_positives,
                weight=weight,
            )
            for name, (max_positives, weight) in values.items()
        )
    )


def test_groups_have_their_caps_and_weights_and_are_all_in_both_splits(lake_url: str) -> None:
    clean = clean_corpora(lake_url, corpus_files())
    grouped(lake_url, {"many": 12, "few": 4, "single": 1})
    wanted = groups(many=(5, 1.0), few=(100, 2.5), single=(100, 1.0))
    found = rows(drawn(lake_url, clean, RECIPE, wanted))
    positives = [row for row in found if row["is_positive"]]
    assert Counter(row["group"] for row in positives) == {"many": 5, "few": 4, "single": 1}
    assert {(row["group"], row["split"]) for row in positives} == {
        ("many", "train"),
        ("many", "validation"),
        ("few", "train"),
        ("few", "validation"),
        ("single", "train"),  # one repository is in one split
    }
    weights = {(row["group"], row["weight"]) for row in found}
    assert weights == {("many", 1.0), ("few", 2.5), ("single", 1.0), (None, 1.0)}


def test_the_cap_of_all_groups_draws_by_hash_among_them(lake_url: str) -> None:
    clean = clean_corpora(lake_url, corpus_files())
    grouped(lake_url, {"a": 8, "b": 8})
    recipe = replace(RECIPE, max_positives=8)
    found = rows(drawn(lake_url, clean, recipe, groups(a=(100, 1.0), b=(100, 1.0))))
    drawn_groups = Counter(row["group"] for row in found if row["is_positive"])
    assert drawn_groups.total() == 8
    assert set(drawn_groups) == {"a", "b"}


def test_an_annotator_learns_from_the_groups_that_it_names(lake_url: str) -> None:
    clean = clean_corpora(lake_url, corpus_files())
    grouped(lake_url, {"a": 8, "b": 8})
    all_groups = groups(a=(100, 1.0), b=(100, 1.0))
    recipe = replace(RECIPE, positive_groups=("b",))
    found = rows(drawn(lake_url, clean, recipe, all_groups))
    assert {row["group"] for row in found if row["is_positive"]} == {"b"}
    both = replace(RECIPE, positive_groups=("a", "b"))
    assert config(both, all_groups) == config(RECIPE, all_groups)
    assert config(recipe, all_groups) == config(RECIPE, groups(b=(100, 1.0)))


def test_a_few_positives_have_one_negative_at_least(lake_url: str) -> None:
    clean = clean_corpora(lake_url, corpus_files())
    exemplars(lake_url, [(f"good-{n}", good_code(str(n))) for n in range(3)])
    folder = drawn(lake_url, clean, replace(RECIPE, negatives_per_positive=0.1))
    train = [row for row in rows(folder) if row["split"] == "train"]
    assert sorted(row["is_positive"] for row in train)[:2] == [False, True]


def test_a_corpus_without_unseen_repositories_is_refused(lake_url: str) -> None:
    clean = clean_corpora(lake_url, [a_file("a.py", a_program("a"), repository="single")])
    exemplars(lake_url, [(f"good-{n}", good_code(str(n))) for n in range(2)])
    with pytest.raises(ValueError, match="no document for the annotator's"):
        drawn(lake_url, clean, RECIPE)


def a_row(name: str, size: int, language: str = "python") -> dict[str, object]:
    return {"text_id": name, "num_bytes": size, "language": language, "text": "x" * size}


def test_each_positive_gets_the_unused_negative_of_nearest_length_and_its_language() -> None:
    pool = [a_row("a", 90), a_row("b", 105), a_row("c", 100, "sql"), a_row("d", 1_000)]
    positives = [a_row("p", 100), a_row("q", 100), a_row("r", 100)]
    found = match_by_length(positives, pool, ratio=1.5)
    assert [(row["text_id"], row["matches"]) for row in found] == [("b", "p"), ("a", "q")]
