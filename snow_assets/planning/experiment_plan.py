"""What an experiment would train, for which of its arms, and its cost: `make plan EXPERIMENT=...`.

Each arm's stages are planned as its run would materialize them. A step that several arms need has
one planned digest, and is counted once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from snow_assets.defs.experiments import (
    arm_stages,
    experiment_arms,
    experiment_comparisons,
    shared_stages,
)
from snow_assets.experiments.arms import ArmRun, arm_phase, arm_recipe, arm_runs
from snow_assets.planning import estimates
from snow_assets.planning.history import Past
from snow_assets.planning.plan import Planner
from snow_assets.planning.plan_steps import Step
from snow_assets.recipe import Recipe
from snow_assets.stages import partition_names
from snow_assets.storage.sizes import Size
from snow_resources.lake import Lake


@dataclass(frozen=True, kw_only=True)
class ArmPlan:
    """What an arm with a seed does that no other one does, in order; `experiment_arms` last."""

    arm: str
    seed: int
    steps: list[Step]


@dataclass(frozen=True, kw_only=True)
class ExperimentPlan:
    """The steps to do; those that are reused are left out."""

    experiment: str
    recipe: str
    lake: str
    currency: str
    corpus: list[Step]  # that the recipe itself has to materialize first
    shared: list[Step]  # by several arms or seeds, made once
    arms: list[ArmPlan]
    comparisons: Step

    @property
    def steps(self) -> list[Step]:
        own = [step for arm in self.arms for step in arm.steps]
        last = [self.comparisons] if self.comparisons.action != "reuse" else []
        return [*self.corpus, *self.shared, *own, *last]


@dataclass(frozen=True)
class _Needed:
    """A step that is to do, and the arms with seeds that need it."""

    step: Step
    partitions: list[str] = field(default_factory=list)


def plan_experiment(
    lake: Lake, recipe: Recipe, name: str, resources: Mapping[str, Any]
) -> ExperimentPlan:
    """Every step of an experiment; ValueError if the recipe has none of that name.

    Reads pointers, manifests and records; writes nothing. An arm that changes the corpus lists its
    sources. `resources` are the definitions' own.
    """
    runs = [run for run in arm_runs(recipe) if run.experiment.name == name]
    if not runs:
        names = [experiment.name for experiment in recipe.experiments]
        raise ValueError(f"recipe {recipe.name} has no experiment {name!r}, only {names}")
    base = Planner(recipe, lake, Past(lake=lake, recipe=recipe), resources)
    corpus = [step for step in _corpus_steps(base, runs[0]) if step.action != "reuse"]
    needed: dict[tuple[str, str, str], _Needed] = {}
    measured: dict[str, Step] = {}
    for run in runs:
        measured[run.partition] = _measuring_step(base, run)
        if measured[run.partition].action == "reuse":
            continue
        for key, step in _arm_steps(base, run).items():
            if step.action != "reuse":
                needed.setdefault(key, _Needed(step)).partitions.append(run.partition)
    comparisons = base.step(experiment_comparisons, name, 1)
    return ExperimentPlan(
        experiment=name,
        recipe=recipe.name,
        lake=lake.url,
        currency=recipe.operation.currency,
        corpus=corpus,
        shared=[item.step for item in needed.values() if len(item.partitions) > 1],
        arms=[
            ArmPlan(
                arm=run.arm,
                seed=run.seed,
                steps=[
                    *(item.step for item in needed.values() if item.partitions == [run.partition]),
                    *_if_to_do(measured[run.partition]),
                ],
            )
            for run in runs
        ],
        comparisons=comparisons,
    )


def _if_to_do(step: Step) -> list[Step]:
    return [step] if step.action != "reuse" else []


def _corpus_steps(base: Planner, run: ArmRun) -> list[Step]:
    """Plan with the recipe's current corpus, as arms are trained on; its steps where there is
    none."""
    recipe = base.recipe
    stages = arm_stages(recipe, run.experiment.phase)
    steps: list[Step] = []
    for stage in shared_stages(stages, recipe, recipe):
        partitions = partition_names(stage.partitions, recipe)
        steps += [
            base.step(stage, partition, len(partitions))
            for partition in partitions
            if not base.keep_current(stage.name, partition)
        ]
    return steps


def _arm_steps(base: Planner, run: ArmRun) -> dict[tuple[str, str, str], Step]:
    """What an arm is made by beside the recipe's corpus; (asset, partition, digest) -> step."""
    recipe = arm_recipe(base.recipe, run)
    stages = arm_stages(recipe, arm_phase(base.recipe, run))
    planner = Planner(recipe, base.lake, replace(base.past, recipe=recipe), base.resources)
    shared = shared_stages(stages, recipe, base.recipe)
    steps = {}
    for stage in stages:
        partitions = partition_names(stage.partitions, recipe)
        for partition in partitions:
            if stage in shared:
                key = stage.name, partition
                planner.artifacts[key] = base.artifacts[key]
                planner.sizes[key] = base.sizes[key]
                continue
            step = planner.step(stage, partition, len(partitions))
            if (tokens := estimates.model_tokens(stage, recipe)) is not None:
                step = replace(step, size=replace(step.size, tokens=tokens))  # not a latest one's
            digest = planner.artifacts[stage.name, partition].digest
            steps[stage.name, partition, digest] = step
    return steps


def _measuring_step(base: Planner, run: ArmRun) -> Step:
    """Measuring an arm's checkpoint. Past seconds of it count its training too: never used."""
    step = base.step(experiment_arms, run.partition, 1)
    if step.cost is None:
        return step
    seconds = estimates.stated_seconds(experiment_arms, base.recipe, Size())
    cost = estimates.cost(experiment_arms, base.recipe, seconds, is_measured=False)
    return replace(step, cost=cost)
