"""The large recipes: their parameters, their memory on a GPU, and what their plans say."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snow_assets.defs.pretraining import CHECKPOINTS
from snow_assets.pretraining.model_size import gpu_memory_bytes, num_parameters, require_memory
from snow_assets.pretraining.train_module import transformer_config
from snow_assets.recipe import ARCTIC, ARCTIC_7B, ARCTIC_13B, SMOKE, Recipe

CHECKOUT = Path(__file__).resolve().parents[2]
RECIPES = (ARCTIC, ARCTIC_7B, ARCTIC_13B)
GIB = 2**30


@pytest.mark.parametrize(
    ("recipe", "billions"),
    [(ARCTIC, 1.364), (ARCTIC_7B, 6.739), (ARCTIC_13B, 13.016)],
    ids=lambda value: getattr(value, "name", None),
)
def test_parameters_are_as_many_as_the_shape_says(recipe: Recipe, billions: float) -> None:
    vocab_size = recipe.curation.tokenizer.vocab_size
    counted = transformer_config(recipe.pretraining.model, vocab_size=vocab_size).num_params
    assert counted / 1e9 == pytest.approx(billions, abs=0.001)
    estimated = num_parameters(recipe.pretraining.model, vocab_size=vocab_size)
    assert estimated == pytest.approx(counted, rel=1e-3)


@pytest.mark.slow
def test_a_step_takes_less_than_70_gib_of_each_gpu() -> None:
    names = [recipe.name for recipe in RECIPES]
    command = [sys.executable, "-m", "tests.pretraining.gpu_memory", *names]
    process = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True)
    peaks = json.loads(process.stdout)
    assert set(peaks) == set(names)
    for recipe in RECIPES:
        # Not below the sharded weights, gradients and optimizer state in fp32.
        shards = recipe.operation.pretraining.sharding_degree or 8
        vocab_size = recipe.curation.tokenizer.vocab_size
        parameters = num_parameters(recipe.pretraining.model, vocab_size=vocab_size)
        assert 16 * parameters / shards < peaks[recipe.name] < 70 * GIB, recipe.name
        # What the plan says of it, and what it refuses a recipe by.
        assert gpu_memory_bytes(recipe) == pytest.approx(peaks[recipe.name], rel=0.01), recipe.name


def sized(recipe: Recipe, **changes: Any) -> Recipe:
    execution = replace(recipe.operation.pretraining, **changes)
    return replace(recipe, operation=replace(recipe.operation, pretraining=execution))


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        (ARCTIC, {"micro_batch_size": 8}),
        (ARCTIC_7B, {"sharding_degree": 1}),
        (ARCTIC_13B, {"gpu_memory_gib": 24}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_model_that_cannot_fit_its_gpus_is_refused_with_the_remedy(
    recipe: Recipe, changes: dict[str, Any]
) -> None:
    fitting, too_large = (
        SimpleNamespace(recipe=each) for each in (recipe, sized(recipe, **changes))
    )
    for stage in CHECKPOINTS.values():
        assert stage.config(fitting)
        with pytest.raises(ValueError, match=r"GiB of each GPU.*raise sharding_degree \(now"):
            stage.config(too_large)


def test_a_mask_takes_a_gpu_s_memory_once_for_all_blocks() -> None:
    phases = tuple(replace(phase, attention="document") for phase in ARCTIC.pretraining.phases)
    masked = replace(ARCTIC, pretraining=replace(ARCTIC.pretraining, phases=phases))
    mask = gpu_memory_bytes(masked) - gpu_memory_bytes(ARCTIC)
    assert mask == pytest.approx(2 * 2 * 8_192**2)  # of 2 sequences in bf16


def test_a_cpu_recipe_states_no_gpu_memory_and_a_gpu_recipe_must() -> None:
    require_memory(SMOKE)
    with pytest.raises(ValueError, match="gpu_memory_gib is None: state"):
        sized(ARCTIC, gpu_memory_gib=None)


def test_the_size_of_the_work_is_no_part_of_a_checkpoint_s_config() -> None:
    changed = replace(
        SMOKE.operation.pretraining, threads=1, micro_batch_size=3, processes_per_node=4
    )
    other = replace(SMOKE, operation=replace(SMOKE.operation, pretraining=changed))
    for stage in CHECKPOINTS.values():
        configs = [stage.config(SimpleNamespace(recipe=recipe)) for recipe in (SMOKE, other)]
        assert configs[0] == configs[1]
    faster = replace(SMOKE.pretraining, spike_sigma=5.0)
    other = replace(SMOKE, pretraining=faster)
    configs = [
        CHECKPOINTS["general"].config(SimpleNamespace(recipe=recipe)) for recipe in (SMOKE, other)
    ]
    assert configs[0] != configs[1]


@pytest.mark.parametrize(("recipe", "gpus"), [(ARCTIC, 8), (ARCTIC_7B, 64), (ARCTIC_13B, 128)])
def test_the_size_of_a_recipe_divides_its_batches(recipe: Recipe, gpus: int) -> None:
    execution = recipe.operation.pretraining
    assert execution.num_gpus == gpus
    for phase in recipe.pretraining.phases:
        rows = phase.global_batch_size // gpus
        assert rows % execution.micro_batch_size == 0
