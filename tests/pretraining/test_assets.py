"""The wiring: packs and chained checkpoints of four phases, and what they refuse."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import dagster as dg
import numpy as np
import pytest

from snow_assets.curation.decontamination.gate import ContaminatedError
from snow_assets.defs import pretraining
from snow_assets.defs.pretraining_checks import phase_checks
from snow_assets.pretraining import gates
from snow_assets.pretraining.sequences import TOKENS, put_sequences, read_tokens
from snow_assets.recipe import SMOKE, Recipe
from snow_assets.stages import Stage
from snow_assets.storage import shards
from snow_assets.storage.schemas.synthesis import SYNTHETIC_DOCUMENT
from snow_resources.lake import Lake
from snow_resources.local_jobs import LocalJobs
from snow_resources.tracking import Tracking
from tests.artifacts import point
from tests.pretraining.builders import (
    CONTEXT,
    EXECUTION,
    MODEL,
    PACKING,
    PHASE,
    SOLUTION,
    a_corpus,
    a_document,
    finish,
    put_clean_corpus,
    put_problems,
    put_subset,
    put_synthetic,
    put_tokenizer,
)
from tests.stage_assets import assets_of

LINEAR = replace(PHASE, schedule="linear", peak_learning_rate=2e-3, final_learning_rate=0.0)
RECIPE: Recipe = replace(
    SMOKE,
    curation=replace(SMOKE.curation, languages=("c", "python")),
    pretraining=replace(
        SMOKE.pretraining,
        model=MODEL,
        packing=PACKING,
        phases=(
            PHASE,
            replace(LINEAR, name="continued", data=("high_quality",)),
            replace(
                LINEAR,
                name="enhanced",
                data=("synthetic",),
                tokens=20 * CONTEXT,
                python_fraction=0.5,
            ),
            replace(
                LINEAR,
                name="annealing",
                data=("high_quality", "synthetic"),
                parent="continued",
            ),
        ),
    ),
    evaluation=replace(SMOKE.evaluation, stride_tokens=16, max_new_tokens=8),
    operation=replace(SMOKE.operation, pretraining=EXECUTION),
)
HELD_OUT = frozenset({"c-two/0.x"})
SELECTED = [row["document_id"] for row in a_corpus()[::4] if row["document_id"] not in HELD_OUT]
REPEATS = {name: 2 + index % 2 for index, name in enumerate(SELECTED)}
PHASES = RECIPE.pretraining.phases
PACKS, CHECKPOINTS = pretraining.phase_stages(PHASES)
STAGES = (*PACKS.values(), *CHECKPOINTS.values())


def put_upstream(lake_url: str, documents: list[dict[str, Any]]) -> None:
    """Everything that pretraining reads, with the recipe's pointers to it."""
    trainable = [row for row in documents if row["document_id"] not in HELD_OUT]
    for folder in (
        *put_clean_corpus(lake_url, documents, HELD_OUT),
        *put_subset(lake_url, trainable, REPEATS),
        put_synthetic(lake_url, trainable[:12] + trainable[-8:]),
        put_tokenizer(lake_url),
        put_problems(lake_url),
    ):
        point(lake_url, folder)


def run(
    lake_url: str, stages: Sequence[Stage], checks: Sequence[dg.AssetChecksDefinition] = ()
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [*assets_of(*stages, recipe=RECIPE), *checks],
        resources={
            "recipe": RECIPE,
            "lake": Lake(url=lake_url),
            "jobs": LocalJobs(url=f"{lake_url}/jobs", vllm_python="none"),
            "tracking": Tracking(uri=""),
        },
    )


def current(lake_url: str, asset: str) -> str:
    pointer = json.loads(shards.get(f"{lake_url}/current/SMOKE/{asset}/all.json"))
    return f"{lake_url}/{asset}/all/{pointer['fingerprint']}"


def tampered(lake_url: str, asset: str, tokens: Callable[[np.ndarray], np.ndarray]) -> str:
    """A copy of packs whose first shard's tokens (sequences, max_seq_len) are others, as the
    pointer names it from now on."""
    old, new = current(lake_url, asset), f"{lake_url}/{asset}/all/tampered"
    for entry in shards.records(old):
        known = {"num_rows": entry.num_rows, "num_tokens": entry.num_tokens, "stats": entry.stats}
        shards.put_file(new, entry.name, shards.get(f"{old}/{entry.name}"), **known)
    entry = shards.manifest(old).tables(TOKENS)[0]
    changed = tokens(read_tokens(old, entry))
    put_sequences(new, 0, changed, stats=entry.stats)
    finish(new, shards.manifest(old).inputs, **shards.manifest(old).stats)
    point(lake_url, new)
    return new


@pytest.mark.slow
def test_each_phase_s_checkpoint_comes_out_and_is_not_made_twice(lake_url: str) -> None:
    put_upstream(lake_url, a_corpus())
    done = run(lake_url, STAGES, phase_checks(PHASES, PACKS, CHECKPOINTS))
    assert done.success
    evaluations = done.get_asset_check_evaluations()
    assert len(evaluations) == 17
    assert all(evaluation.passed for evaluation in evaluations)
    parents = []
    for name in (f"{phase.name}_checkpoint" for phase in PHASES):
        manifest = shards.manifest(current(lake_url, name))
        parents.append([made.asset for made in manifest.inputs if "checkpoint" in made.asset])
        assert manifest.stats["tokens"] == manifest.num_tokens("seen")
        assert {entry.name for entry in manifest.files} >= {
            "model/config.json",
            "model/generation_config.json",
            "model/model.safetensors",
            "model/tokenizer.json",
            "model/tokenizer_config.json",
        }
        assert "resume" not in shards.names(current(lake_url, name))
    continued = ["continued_checkpoint"]
    assert parents == [[], ["general_checkpoint"], continued, continued]
    page = done.asset_materializations_for_node("general_checkpoint")[0].metadata
    assert "data:image/png;base64," in str(page["loss"].value)
    assert len(str(page["loss"].value)) < 160_000
    assert "loss_of_all_phases" not in page
    page = done.asset_materializations_for_node("annealing_checkpoint")[0].metadata
    assert "data:image/png;base64," in str(page["loss_of_all_phases"].value)
    again = run(lake_url, STAGES)
    for stage in STAGES:
        made = again.asset_materializations_for_node(stage.name)[0]
        assert made.metadata["reused"].value is True


def test_continued_packs_read_a_document_in_as_many_passes_as_its_repeats(lake_url: str) -> None:
    put_upstream(lake_url, a_corpus())
    run(lake_url, [PACKS["continued"]])
    spans = shards.read(current(lake_url, "continued_packs"), "spans").to_pylist()
    passes = {(span["document_id"], span["pass_index"]) for span in spans}
    assert all(index < REPEATS[name] for name, index in passes)
    assert {index for _, index in passes} >= {0, 1}
    assert {name for name, index in passes if index == 0} == set(REPEATS)


def test_a_mix_packs_the_subset_and_the_synthetic_files(lake_url: str) -> None:
    put_upstream(lake_url, a_corpus())
    run(lake_url, [PACKS["annealing"]])
    spans = shards.read(current(lake_url, "annealing_packs"), "spans").to_pylist()
    names = {span["document_id"] for span in spans}
    selected = {name for name in names if not name.startswith("new:")}
    assert selected
    assert selected <= set(REPEATS)
    assert selected != names
    passes = {(span["document_id"], span["pass_index"]) for span in spans}
    assert all(index < REPEATS.get(name, PHASE.max_passes) for name, index in passes)


def test_no_held_out_document_is_packed_and_a_selected_one_is_refused(lake_url: str) -> None:
    put_upstream(lake_url, a_corpus())
    run(lake_url, [PACKS["general"]])
    spans = shards.read(current(lake_url, "general_packs"), "spans")
    assert not HELD_OUT & set(spans["document_id"].to_pylist())
    (name,) = HELD_OUT
    folder = shards.join(lake_url, "synthetic_set/all/evil")
    rows = shards.read(f"{lake_url}/synthetic_set/all/g", "documents").to_pylist()
    shards.put_table(
        folder,
        "documents",
        0,
        [{**rows[0], "seed_document_id": name}, *rows[1:]],
        SYNTHETIC_DOCUMENT,
    )
    finish(folder)
    point(lake_url, folder)
    with pytest.raises(ValueError, match=f"{name} is held out"):
        run(lake_url, [PACKS["enhanced"]])


def test_a_solution_behind_curation_stops_the_packs(lake_url: str) -> None:
    text = f"def f(words):\n{SOLUTION}"
    leaked = [a_document("python", f"evil-{index}", "a.py", text) for index in range(12)]
    put_upstream(lake_url, [*a_corpus(), *leaked])
    with pytest.raises(ContaminatedError, match=r"evil-\d+/a\.py.*T/0"):
        run(lake_url, [PACKS["general"]])
    with pytest.raises(FileNotFoundError):
        current(lake_url, "general_packs")


def test_packs_that_were_not_searched_as_they_are_stop_the_checkpoint(lake_url: str) -> None:
    put_upstream(lake_url, a_corpus())
    run(lake_url, [PACKS["general"]])
    tampered(lake_url, "general_packs", lambda tokens: tokens[::-1])
    with pytest.raises(ValueError, match=r"tokens-00000\.bin was not searched .* pack it again"):
        run(lake_url, [CHECKPOINTS["general"]])
    assert shards.names(f"{lake_url}/jobs") == []


def test_a_checkpoint_reads_no_tokens_to_know_that_they_were_searched(lake_url: str) -> None:
    put_upstream(lake_url, a_corpus())
    run(lake_url, [PACKS["general"]])
    packs = current(lake_url, "general_packs")
    for entry in shards.manifest(packs).files:
        if entry.name.startswith((TOKENS, "spans")):
            shards.remove(f"{packs}/{entry.name}")
    benchmarks = gates.Benchmarks(
        problems=shards.read(f"{lake_url}/benchmark_problems/all/g", "problems"),
        window_tokens=RECIPE.curation.contamination.gate_window_tokens,
    )
    gates.assert_trainable_packs(packs, benchmarks, tokens=PHASE.tokens, max_seq_len=CONTEXT)
    with pytest.raises(ValueError, match="was not searched for these benchmark problems"):
        gates.assert_trainable_packs(
            packs, replace(benchmarks, window_tokens=16), tokens=PHASE.tokens, max_seq_len=CONTEXT
        )


def test_packs_below_the_exact_budget_stop_the_checkpoint(lake_url: str) -> None:
    put_upstream(lake_url, a_corpus())
    run(lake_url, [PACKS["general"]])
    tampered(lake_url, "general_packs", lambda tokens: tokens[:7])
    with pytest.raises(ValueError, match="1248 tokens, and the phase requires exactly 1280"):
        run(lake_url, [CHECKPOINTS["general"]])


def test_a_checkpoint_without_its_parent_says_what_to_materialize(lake_url: str) -> None:
    put_upstream(lake_url, a_corpus())
    run(lake_url, [PACKS["continued"]])
    with pytest.raises(FileNotFoundError, match=r"general_checkpoint .* materialize it first"):
        run(lake_url, [CHECKPOINTS["continued"]])
