import shutil
from dataclasses import replace

import numpy as np
import pytest

from snow_assets.quality.gate import read_annotator
from snow_assets.quality.head import read_head
from snow_assets.storage import shards
from snow_assets.storage.schemas.quality import EXAMPLE
from tests.artifacts import finish
from tests.quality.builders import trained
from tests.quality.conftest import Made


def test_training_twice_makes_the_same_files(made: Made) -> None:
    again, report = trained(made.lake, made.examples, made.recipe, name="1" * 32)
    assert shards.manifest(again).digest == shards.manifest(made.annotator).digest
    assert report.annotator.version == read_annotator(made.annotator).version


def test_the_annotator_learns_to_tell_good_from_random(made: Made) -> None:
    gates = read_annotator(made.annotator).gates
    assert [gate.language for gate in gates] == [None] * 4 + ["python"] * 4
    for gate in gates:
        assert gate.auc is not None
        assert gate.auc > 0.9, gate


def test_the_gates_are_a_table_too(made: Made) -> None:
    annotator = read_annotator(made.annotator)
    rows = shards.read(made.annotator, "gates").to_pylist()
    assert {row["annotator"] for row in rows} == {annotator.version}
    assert [(row["gate"], row["language"], row["auc"], row["passed"]) for row in rows] == [
        (gate.name, gate.language, gate.auc, gate.passed) for gate in annotator.gates
    ]


def test_less_regularization_fits_the_training_examples_closer(made: Made) -> None:
    losses = []
    for number, inverse in enumerate((0.01, 1.0)):
        recipe = replace(made.recipe, inverse_regularization=inverse)
        _, report = trained(made.lake, made.examples, recipe, name=str(number + 1) * 32)
        losses.append(report.loss)
    assert losses[1] < losses[0] < np.log(2), "a head that knows nothing has ln 2"


@pytest.mark.parametrize(
    "change",
    [
        {"inverse_regularization": 0.5},
        {"pooling": "cls"},
        {"gpus": 1},
        {"gpus": 1, "precision": "bf16"},
    ],
)
def test_what_changes_scores_changes_the_version(made: Made, change: dict[str, object]) -> None:
    recipe = replace(made.recipe, **change)
    _, report = trained(made.lake, made.examples, recipe, name="1" * 32)
    assert report.annotator.version != read_annotator(made.annotator).version


def test_the_version_does_not_depend_on_where_the_encoder_lies_or_what_the_gate_asks(
    made: Made, tmp_path_factory: pytest.TempPathFactory
) -> None:
    moved = tmp_path_factory.mktemp("elsewhere") / "encoder"
    shutil.copytree(made.recipe.encoder, moved)
    recipe = replace(made.recipe, encoder=str(moved), min_auc=0.5)
    _, report = trained(made.lake, made.examples, recipe, name="1" * 32)
    assert report.annotator.version == read_annotator(made.annotator).version


def test_standardisation_is_folded_into_the_head(made: Made) -> None:
    head = read_head(made.annotator)
    assert head.weight.dtype == np.float32
    vectors = np.ones((3, len(head.weight)), dtype=np.float32)
    expected = head.weight.astype(np.float64).sum() + head.bias[0]
    assert np.allclose(head.logits(vectors), expected, rtol=1e-6)


def test_examples_of_one_kind_are_refused(made: Made) -> None:
    rows = [row for row in shards.read(made.examples, "examples").to_pylist() if row["is_positive"]]
    folder = f"{made.lake}/annotator_examples/all/{'2' * 32}"
    shards.put_table(folder, "examples", 0, rows, EXAMPLE)
    with pytest.raises(ValueError, match="of one kind only"):
        trained(made.lake, finish(folder), made.recipe, name="2" * 32)


def test_shuffled_labels_fit_worse_and_leave_validation_as_it_is(made: Made) -> None:
    _, learned = trained(made.lake, made.examples, made.recipe, name="1" * 32)
    recipe = replace(made.recipe, labels="shuffled")
    folder, report = trained(made.lake, made.examples, recipe, name="2" * 32)
    assert report.loss > 2 * learned.loss
    roles = [
        [(row["text_id"], row["role"]) for row in shards.read(each, "validation").to_pylist()]
        for each in (made.annotator, folder)
    ]
    assert roles[0] == roles[1]
    _, redrawn = trained(made.lake, made.examples, replace(recipe, seed=1), name="3" * 32)
    assert redrawn.annotator.version != report.annotator.version
