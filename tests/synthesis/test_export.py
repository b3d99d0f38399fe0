"""The accepted files leave as a data set whose card says which model wrote them, and how."""

import dataclasses
from pathlib import Path

import pytest

from snow_assets.defs.materialize import current_artifact
from snow_assets.defs.synthesis import (
    synthetic_completions,
    synthetic_dataset,
    synthetic_set,
    teacher_model,
)
from snow_assets.recipe import Recipe
from snow_assets.storage import shards
from snow_resources.lake import Lake
from tests.stage_assets import assets_of
from tests.synthesis.builders import a_module, a_subset, put_opt_outs, put_problems, put_tokenizer
from tests.synthesis.stub_server import serving
from tests.synthesis.test_assets import RECIPE, materialized

EXPORTED = dataclasses.replace(
    RECIPE,
    synthesis=dataclasses.replace(
        RECIPE.synthesis,
        rewrite_fraction=0.25,
        training_terms="conditional",
        model_terms="name the model `X|Y`: https://example.org/terms",
    ),
)


def exported(lake: Lake, recipe: Recipe) -> str:
    """The folder of `synthetic_dataset`, made with all before it."""
    put_problems(lake)
    put_tokenizer(lake)
    put_opt_outs(lake)
    a_subset(lake, "python", {f"repository-{n}": a_module(f"topic{n}") for n in range(3)})
    stages = assets_of(teacher_model, synthetic_completions, synthetic_set, synthetic_dataset)
    with serving() as stub:
        materialized(lake, stub, *stages, recipe=recipe)
    return current_artifact(lake, recipe, "synthetic_dataset").folder


@pytest.fixture
def folder(lake_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    return exported(Lake(url=lake_url), EXPORTED)


def test_datasets_loads_the_accepted_files_with_their_provenance(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    (accepted,) = shards.input_folders(folder, "synthetic_set")
    rows = load_dataset(folder, cache_dir=str(tmp_path / "cache"))["train"].to_list()
    expected = shards.read(accepted, "documents").to_pylist()
    assert rows == [{**row, "execution": None} for row in expected]
    assert {row["mode"] for row in rows} == {"oss_instruct", "rewrite"}
    assert {row["model_license"] for row in rows} == {"Apache-2.0"}


def test_the_card_states_teacher_terms_prompts_counts_and_decoding(folder: str) -> None:
    card = Path(folder, "README.md").read_text()
    (accepted,) = shards.input_folders(folder, "synthetic_set")
    stats = shards.manifest(accepted).stats
    for line in (
        "| model | stub |",
        "| licence | Apache-2.0 |",
        "| terms for completions | name the model ?X?Y?: https://example.org/terms |",
        "| training on completions | conditional |",
        "| temperature | 0.7 |",
        "| max_new_tokens | 320 |",
        "`rewrite`, 25% of the requests:",
        "| acceptance.max_jaccard | 0.7 |",
        "| contamination.ngram_words | 12 |",
        f"8 requests, {stats['num_accepted']} accepted files with {stats['num_tokens']} tokens",
    ):
        assert line in card
    assert "Version oss_instruct 2, rewrite 1; examples of the task" in card
    assert "Rewrite this Python file:\n<file>\n...\n</file>" in card
    counted = [line for line in card.splitlines() if line.startswith("| python")]
    assert [line.split(" | ")[0] for line in counted] == ["| python", "| python, rewritten"]


def test_the_attribution_lists_the_seeds_repositories_and_licences(folder: str) -> None:
    (accepted,) = shards.input_folders(folder, "synthetic_set")
    seeds = shards.read(accepted, "documents", columns=["seed_repository"]).to_pylist()
    text = Path(folder, "ATTRIBUTION.md").read_text()
    for repository in {row["seed_repository"] for row in seeds}:
        assert f"| {repository} | " in text
    assert "\n## MIT\n" in text


def test_other_terms_make_another_card_though_no_file_changes(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    lake = Lake(url=lake_url)
    first = exported(lake, RECIPE)
    permitted = dataclasses.replace(
        RECIPE,
        synthesis=dataclasses.replace(
            RECIPE.synthesis, training_terms="forbidden", training_permission="letter of 3 November"
        ),
    )
    second = exported(lake, permitted)
    assert "permission for training" not in Path(first, "README.md").read_text()
    assert "| permission for training | letter of 3 November |" in (
        Path(second, "README.md").read_text()
    )
