"""An annotator trained from tables of files and of instruction pairs."""

from pathlib import Path

from snow_assets.quality.gate import read_annotator
from snow_assets.storage import shards
from tests.artifacts import finish
from tests.curation.builders import clean_corpora
from tests.quality.builders import (
    a_recipe,
    an_encoder,
    corpus_files,
    drawn,
    some_problems,
    trained,
)
from tests.quality.positives import files_and_pairs, written_exemplars


def test_an_annotator_learns_from_a_parquet_of_files_and_a_jsonl_of_instruction_pairs(
    tmp_path: Path,
) -> None:
    lake = str(tmp_path / "lake")
    groups = files_and_pairs(tmp_path)
    clean = clean_corpora(lake, corpus_files(), problem_rows=some_problems())
    stats = written_exemplars(lake, groups)
    assert stats["groups"] == {"files": {"exemplars": 16}, "pairs": {"exemplars": 12}}
    recipe = a_recipe(an_encoder(tmp_path / "encoder"))
    examples = drawn(lake, clean, recipe, groups)
    rows = shards.read(examples, "examples").to_pylist()
    groups_of_splits = {(row["group"], row["split"]) for row in rows if row["is_positive"]}
    assert len(groups_of_splits) == 4
    annotator, report = trained(lake, examples, recipe)
    assert report.num_training_examples == sum(row["split"] == "train" for row in rows)
    for gate in read_annotator(annotator).gates:
        if gate.name == "length_matched":
            continue  # half as many texts
        assert gate.auc is not None
        assert gate.auc > 0.9, gate

    # A heavier group pulls the head towards its texts.
    heavier = [
        {**row, "weight": 50.0 if row["group"] == "pairs" else row["weight"]} for row in rows
    ]
    other = f"{lake}/annotator_examples/all/{'1' * 32}"
    shards.put_table(other, "examples", 0, heavier, shards.read(examples, "examples").schema)
    weighted, _ = trained(lake, finish(other), recipe, name="1" * 32)
    pairs = {row["text_id"] for row in rows if row["group"] == "pairs"}
    means = []
    for made in (annotator, weighted):
        validation = shards.read(made, "validation").to_pylist()
        means.append(sum(row["logit"] for row in validation if row["text_id"] in pairs))
    assert means[1] > means[0]
