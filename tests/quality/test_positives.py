"""An annotator trained from tables of files and of instruction pairs."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.quality import exemplars
from snow_assets.quality.gate import read_annotator
from snow_assets.recipe import SMOKE, ExemplarRecipe, FilePositives, RowPositives, Source
from snow_assets.storage import shards
from tests.curation.builders import clean_corpora, finish
from tests.quality.builders import (
    FINGERPRINT,
    a_recipe,
    an_encoder,
    corpus_files,
    drawn,
    good_code,
    some_problems,
    trained,
)


def parquet_of_files(path: Path) -> FilePositives:
    """A row for each file of four repositories."""
    rows = [
        {
            "repo_name": f"good/{number % 4}",
            "path": f"{number}.py",
            "content": good_code(f"file {number}"),
            "license": "MIT",
        }
        for number in range(16)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    source = Source(name="files", kind="rows", locations=(str(path),), files_per_repository=None)
    return replace(SMOKE.exemplars.file_groups[0], source=source, min_docstring_chars=None)


def instruction_pairs(path: Path) -> RowPositives:
    rows = (
        {
            "prompt": f"WRITE PROGRAM {number}",
            "response": f"```python\n{good_code(f'pair {number}')}```",
        }
        for number in range(12)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RowPositives(
        name="pairs",
        locations=(str(path),),
        license="MIT",
        prompt_column="prompt",
        response_column="response",
        messages_column=None,
        language_column=None,
        default_language=None,
        max_positives=8,
        weight=2.0,
    )


def test_an_annotator_learns_from_a_parquet_of_files_and_a_jsonl_of_instruction_pairs(
    tmp_path: Path,
) -> None:
    lake = str(tmp_path / "lake")
    groups = ExemplarRecipe(
        groups=(
            parquet_of_files(tmp_path / "files.parquet"),
            instruction_pairs(tmp_path / "pairs.jsonl"),
        )
    )
    clean = clean_corpora(lake, corpus_files(), problem_rows=some_problems())
    folder = f"{lake}/exemplars/all/{FINGERPRINT}"
    stats = exemplars.write(
        folder,
        recipe=groups,
        corpus=SMOKE.corpus,
        languages=("python",),
        problems=shards.read(f"{lake}/benchmark_problems/all/{FINGERPRINT}", "problems"),
        contamination=SMOKE.curation.contamination,
        opted_out=frozenset(),
    )
    assert stats["groups"] == {"files": {"exemplars": 16}, "pairs": {"exemplars": 12}}
    finish(folder)
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
