"""An annotator that learns grades from a table, beside files and instruction pairs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from snow_assets.quality import grades
from snow_assets.quality.correlation import rank_correlation
from snow_assets.quality.gate import GateError, language_failures, scoring_annotator
from snow_assets.recipe import SMOKE, AnnotatorRecipe, GradeTable, annotator_values
from snow_assets.storage import shards
from snow_assets.storage.schemas.quality import EXAMPLE, GRADED_EXAMPLE
from tests.artifacts import finish
from tests.curation.builders import a_program, clean_corpora
from tests.quality.builders import (
    FINGERPRINT,
    a_lake,
    a_recipe,
    an_encoder,
    corpus_files,
    drawn,
    good_code,
    some_problems,
    trained,
)
from tests.quality.positives import files_and_pairs, written_exemplars

OF_TEXTS: dict[str, Any] = {
    "grade_column": "grade",
    "text_column": "text",
    "text_id_column": None,
    "repository_column": None,
    "path_column": None,
    "language_column": None,
    "default_language": "python",
    "license": "MIT",
    "grader": "human",
    "rubric": "usefulness",
    "weight": 1.0,
}
OF_PATHS = {
    **OF_TEXTS,
    "text_column": None,
    "license": None,
    "repository_column": "repository",
    "path_column": "path",
    "grader": "some-model-1",
}


def grade_table(path: Path, rows: Sequence[Any], **columns: Any) -> GradeTable:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return GradeTable(name=path.stem, locations=(str(path),), **{**OF_TEXTS, **columns})


def graded_recipe(encoder: str, *tables: GradeTable, **values: Any) -> AnnotatorRecipe:
    values = {"min_rank_correlation": 0.3, **values}
    return a_recipe(encoder, target="grades", grades=tables, **values)


def written(lake: str, clean: dict[str, str], table: GradeTable) -> str:
    folder = f"{lake}/graded_texts/{table.name}/{FINGERPRINT}"
    grades.write(
        folder,
        table=table,
        corpus=SMOKE.corpus,
        languages=("python",),
        clean_folders=list(clean.values()),
        problems=shards.read(f"{lake}/benchmark_problems/all/{FINGERPRINT}", "problems"),
        contamination=SMOKE.curation.contamination,
    )
    return finish(folder)


def mixed_code(number: int, grade: int) -> str:
    """A program of which as many of five functions are in capitals as its grade says."""
    functions = [a_program(f"graded{number}x{part}", functions=1) for part in range(5)]
    return "\n\n".join([text.upper() for text in functions[:grade]] + functions[grade:])


def texts(count: int = 60) -> list[dict[str, Any]]:
    return [
        {"text": mixed_code(number, number % 6), "grade": number % 6} for number in range(count)
    ]


def test_an_annotator_learns_grades_beside_a_parquet_of_files_and_a_jsonl_of_pairs(
    tmp_path: Path,
) -> None:
    lake = str(tmp_path / "lake")
    clean = clean_corpora(lake, corpus_files(), problem_rows=some_problems())
    groups = files_and_pairs(tmp_path)
    written_exemplars(lake, groups)
    of_texts = grade_table(tmp_path / "people.jsonl", texts())
    train = [
        row
        for row in shards.read(clean["python"], "decisions").to_pylist()
        if row["kept"] and row["split"] == "train"
    ]
    of_paths = grade_table(
        tmp_path / "model.jsonl",
        [{"repository": row["repository"], "path": row["path"], "grade": 0.5} for row in train[:8]],
        **OF_PATHS,
    )
    recipe = graded_recipe(an_encoder(tmp_path / "encoder"), of_texts, of_paths, positive_grade=5.0)
    graded_folders = [written(lake, clean, table) for table in recipe.grades]
    examples = drawn(lake, clean, recipe, groups, graded_folders=graded_folders)
    graded = shards.read(examples, "graded_examples").to_pylist()
    assert {(row["table"], row["split"]) for row in graded} == {
        (table, split) for table in ("people", "model") for split in ("train", "validation")
    }
    graded_ids = {row["text_id"] for row in graded}
    assert graded_ids >= {row["text_id"] for row in train[:8]}
    rows = shards.read(examples, "examples").to_pylist()
    assert graded_ids.isdisjoint(row["text_id"] for row in rows)
    splits = {row["repository"]: row["split"] for row in graded}
    assert all(splits.get(row["repository"], row["split"]) == row["split"] for row in rows)

    annotator, report = trained(lake, examples, recipe)
    everything, of_python = report.annotator.grade_gates
    assert (everything.language, of_python.language) == (None, "python")
    assert everything.graders == "human, some-model-1"
    validation = shards.read(annotator, "graded_validation").to_pylist()
    expected = scipy.stats.spearmanr(
        [row["grade"] for row in validation], [row["logit"] for row in validation]
    )
    assert everything.rank_correlation == pytest.approx(expected.statistic)
    assert everything.low is not None
    assert everything.low > 0.3
    # What is predicted is a grade.
    assert abs(np.mean([row["logit"] - row["grade"] for row in validation])) < 1
    assert [
        row["rank_correlation"] for row in shards.read(annotator, "rank_correlations").to_pylist()
    ]
    held_out = next(gate for gate in report.annotator.gates if gate.name == "held_out")
    assert held_out.auc is not None
    assert held_out.auc > 0.9

    # Positives without a grade are for the AUCs alone.
    without = replace(recipe, positive_grade=None)
    _, fewer = trained(lake, examples, without, name="1" * 32)
    num_positives = sum(row["split"] == "train" and row["is_positive"] for row in rows)
    assert num_positives > 0
    assert fewer.annotator.head_digest != report.annotator.head_digest
    # What has no grade is neither counted nor embedded.
    num_graded = sum(row["split"] == "train" for row in graded)
    assert fewer.num_training_examples == num_graded
    assert report.num_training_examples == num_graded + num_positives
    assert fewer.num_windows < report.num_windows
    assert fewer.num_validation_examples == report.num_validation_examples

    strict = replace(recipe, min_rank_correlation=0.999)
    failing, report = trained(lake, examples, strict, name="2" * 32)
    with pytest.raises(GateError, match=r"rank correlation with held-out grades \(human, some"):
        scoring_annotator(failing)
    failures = language_failures(report.annotator.all_gates, "python")
    assert "rank correlation of python" in failures[-1]


def test_grades_alone_are_examples_enough(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    clean = a_lake(lake)
    exemplars_folder = f"{lake}/exemplars/all/{FINGERPRINT}"
    rows = shards.read(exemplars_folder, "exemplars").to_pylist()
    table = grade_table(
        tmp_path / "people.jsonl", [{"text": row["text"], "grade": 5} for row in rows]
    )
    recipe = graded_recipe(an_encoder(tmp_path / "encoder"), table)
    folder = drawn(lake, clean, recipe, graded_folders=[written(lake, clean, table)])
    assert {row["split"] for row in shards.read(folder, "examples").to_pylist()} == {"validation"}
    with pytest.raises(ValueError, match="all grades of the training examples are 5: the head"):
        trained(lake, folder, recipe)


def test_grades_of_which_none_is_in_training_are_refused(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    clean = a_lake(lake)
    table = grade_table(tmp_path / "people.jsonl", texts())
    recipe = graded_recipe(an_encoder(tmp_path / "encoder"), table)
    folder = drawn(lake, clean, recipe, graded_folders=[written(lake, clean, table)])
    changed = f"{lake}/annotator_examples/all/{'1' * 32}"
    for name, schema in (("examples", EXAMPLE), ("graded_examples", GRADED_EXAMPLE)):
        rows = [
            row for row in shards.read(folder, name).to_pylist() if row["split"] == "validation"
        ]
        shards.put_table(changed, name, 0, rows, schema)
    with pytest.raises(ValueError, match="no graded text is in training: add grades of texts"):
        trained(lake, finish(changed), recipe, name="1" * 32)


def test_rows_that_are_no_graded_text_are_drops_with_reasons(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    clean = clean_corpora(lake, corpus_files(), problem_rows=some_problems())
    solution = some_problems()[0]["prompt"] + some_problems()[0]["solution"]
    table = grade_table(
        tmp_path / "people.jsonl",
        [
            {"text": good_code("once"), "grade": 2},
            {"text": good_code("once"), "grade": 5.0},
            {"text": solution, "grade": 5},
            {"text": good_code("too good"), "grade": 6},
            {"text": good_code("not graded"), "grade": None},
            {"text": good_code("other column")},
            {"text": "", "grade": 1},
            {"grade": 1},
            ["no row"],
        ],
    )
    folder = written(lake, clean, table)
    (row,) = shards.read(folder, "texts").to_pylist()
    assert (row["grade"], row["num_grades"], row["grader"]) == (3.5, 2, "human")
    assert sorted(row["reason"] for row in shards.read(folder, "drops").to_pylist()) == [
        "contaminated",
        "empty",
        "missing_columns",
        "no_grade",
        "no_grade",
        "no_grade",
        "unreadable_row",
    ]


def test_held_out_and_unknown_documents_are_drops(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    clean = clean_corpora(lake, corpus_files(), problem_rows=some_problems())
    decided = shards.read(clean["python"], "decisions").to_pylist()
    one_of = {row["split"]: row for row in decided if row["kept"]}
    table = grade_table(
        tmp_path / "ids.jsonl",
        [
            {"id": one_of["train"]["text_id"], "grade": 4},
            {"id": one_of["held_out"]["text_id"], "grade": 4},
            {"id": "0" * 64, "grade": 4},
        ],
        text_column=None,
        license=None,
        text_id_column="id",
    )
    folder = written(lake, clean, table)
    (row,) = shards.read(folder, "texts").to_pylist()
    assert row["repository"] == one_of["train"]["repository"]
    reasons = [row["reason"] for row in shards.read(folder, "drops").to_pylist()]
    assert reasons == ["held_out", "not_in_corpus"]


def test_a_table_without_any_grade_is_refused(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    clean = clean_corpora(lake, corpus_files(), problem_rows=some_problems())
    table = grade_table(tmp_path / "people.jsonl", texts(2), grade_column="score")
    with pytest.raises(ValueError, match=r"grades 'people' are of no text .*'no_grade': 2"):
        written(lake, clean, table)


def test_a_recipe_without_grades_keeps_its_annotator_s_address() -> None:
    assert "target" not in annotator_values(SMOKE.annotator)
    assert "positive_grade" not in annotator_values(SMOKE.annotator)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "grades"}, "AnnotatorRecipe.grades is"),
        ({"min_rank_correlation": 0.5}, "AnnotatorRecipe.min_rank_correlation is 0.5"),
        ({"positive_grade": 5.0}, "AnnotatorRecipe.positive_grade is 5.0"),
    ],
)
def test_what_grades_need_is_stated_with_them(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMOKE.annotator, **change)


def test_a_table_names_its_texts_in_one_way(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="state text_column, or text_id_column"):
        grade_table(tmp_path / "both.jsonl", [], text_id_column="id")
    with pytest.raises(ValueError, match="a license belongs to a text_column"):
        grade_table(tmp_path / "none.jsonl", [], license=None)


def test_the_rank_correlation_is_spearman_s_and_its_interval_covers() -> None:
    random = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        pairs = random.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=60)
        measured = rank_correlation(pairs[:, 0].tolist(), pairs[:, 1].tolist())
        assert measured is not None
        assert measured.value == pytest.approx(scipy.stats.spearmanr(pairs).statistic)
        expected = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of a normal pair
        covered.append(measured.low <= expected <= measured.high)
    assert 0.91 <= np.mean(covered) <= 0.99
    assert rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None
    assert rank_correlation([1, 2, 3], [1, 2, 3]) is None
    perfect = rank_correlation(range(10), range(10))
    assert perfect is not None
    assert (perfect.value, perfect.low, perfect.high) == (1.0, 0.7, 1.0)
