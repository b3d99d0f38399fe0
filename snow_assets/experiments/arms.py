"""The recipe of an arm with a seed, and the names of the experiments' partitions."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.recipe import FurtherAnnotator, Recipe
from snow_assets.recipe.experiments import (
    ExperimentRecipe,
    change_field,
    field_value,
    kept_phases,
    measured_phase,
)


@dataclass(frozen=True, kw_only=True)
class ArmRun:
    """An arm of an experiment with one of its seeds."""

    experiment: ExperimentRecipe
    arm: str
    seed: int

    @property
    def partition(self) -> str:
        return f"{self.experiment.name}-{self.arm}-{self.seed}"


def partition_parts(partition: str) -> tuple[str, str, int]:
    """Experiment, arm and seed of a partition; names of both have no hyphen."""
    experiment, arm, seed = partition.split("-")
    return experiment, arm, int(seed)


def arm_runs(recipe: Recipe) -> Iterator[ArmRun]:
    """Every arm and seed of the recipe's experiments; an arm's seeds follow one another."""
    for experiment in recipe.experiments:
        for arm in experiment.arms:
            for seed in experiment.seeds:
                yield ArmRun(experiment=experiment, arm=arm.name, seed=seed)


def arm_run(recipe: Recipe, partition: str) -> ArmRun:
    """The arm and seed of a partition; ValueError if the recipe has none of that name."""
    for run in arm_runs(recipe):
        if run.partition == partition:
            return run
    names = [experiment.name for experiment in recipe.experiments]
    raise ValueError(f"{partition} is no arm and seed of the recipe's experiments {names}")


def arm_recipe(recipe: Recipe, run: ArmRun) -> Recipe:
    """The recipe that an arm is trained with; its name is the recipe's and the partition's.

    The values are those of the recipe, then the experiment's changes, the seed, the arm's changes
    and its offsets of seeds; then phases are dropped. Of further annotators only the one that
    selects is kept. ValueError names an unknown field or an invalid value.
    """
    experiment = run.experiment
    arm = experiment.arm(run.arm)
    changes = [(change.field, change.value) for change in experiment.changes]
    changes += [(field, run.seed) for field in experiment.seed_fields]
    changes += [(change.field, change.value) for change in arm.changes]
    selecting = {value for field, value in changes if field == "selection.annotator"}
    changed = replace(
        recipe,
        name=f"{recipe.name}-{run.partition}",
        experiments=(),
        promotion_gates=(),
        further_annotators=_named(recipe, {recipe.selection.annotator, *selecting}),
    )
    for field, value in changes:
        changed = change_field(changed, field, value)
    for offset in arm.seed_offsets:
        seed = field_value(changed, offset.field) + offset.value
        changed = change_field(changed, offset.field, seed)
    phases = kept_phases(changed.pretraining.phases, arm.dropped_phases)
    return replace(
        changed,
        pretraining=replace(changed.pretraining, phases=phases),
        further_annotators=_named(changed, {changed.selection.annotator}),
    )


def _named(recipe: Recipe, names: Collection[str | None]) -> tuple[FurtherAnnotator, ...]:
    return tuple(further for further in recipe.further_annotators if further.name in names)


def require_solutions(experiment: ExperimentRecipe) -> None:
    """ValueError if the experiment's benchmark publishes no canonical solutions."""
    if not benchmark_named(experiment.benchmark).has_solutions:
        raise ValueError(
            f"experiment {experiment.name} is decided by bits per byte of canonical solutions, and "
            f"{experiment.benchmark} publishes none: name another benchmark in it"
        )


def arm_phase(recipe: Recipe, run: ArmRun) -> str:
    """The phase of the recipe whose checkpoint is measured for an arm."""
    dropped = run.experiment.arm(run.arm).dropped_phases
    return measured_phase(recipe.pretraining.phases, run.experiment.phase, dropped)
