"""Config of experiments: arms, each a set of changed recipe values, trained with several seeds."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import chain
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import StringConstraints

from snow_assets.recipe.training import PhaseName, PhaseRecipe
from snow_assets.recipe.validation import Distinct, Name, RecipeSection, Seed, require

FieldPath = Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[a-z0-9_]+)+$", max_length=200)]
"""A field of the recipe, `selection.ranking`; an item of a tuple by its name,
`pretraining.phases.continued.tokens`."""
ArmName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


@dataclass(frozen=True, kw_only=True)
class Change(RecipeSection):
    """A field of the recipe, and the value that it has in an arm."""

    field: FieldPath
    value: Any


@dataclass(frozen=True, kw_only=True)
class Arm(RecipeSection):
    """A variant of the recipe. `seed_offsets` are added to seeds: another draw of the same arm.

    `dropped_phases` are not trained: what would start from one of them starts from its parent.
    Their tokens are not trained either; equal tokens need a change of another phase's.
    """

    name: ArmName
    changes: tuple[Change, ...]
    seed_offsets: tuple[Change, ...] = ()
    dropped_phases: Annotated[tuple[PhaseName, ...], Distinct] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison(RecipeSection):
    """An arm against a baseline, paired by seed and text."""

    arm: ArmName
    baseline: ArmName


@dataclass(frozen=True, kw_only=True)
class PromotionGate(RecipeSection):
    """A comparison of an experiment. No model is promoted while it is not made, was made for
    another config or corpus, is worse, or belongs to a control that is not undecided."""

    experiment: ArmName
    arm: ArmName
    baseline: ArmName


@dataclass(frozen=True, kw_only=True)
class ExperimentRecipe(RecipeSection):
    """Arms x seeds of the recipe up to a phase, and the comparisons that are decided on.

    The metric is bits per byte of a benchmark's canonical solutions (its test half), the
    less the better: pass@1 of small models is 0 (DataDecide, arXiv 2504.11393).
    """

    name: ArmName
    phase: PhaseName  # whose checkpoint is measured; of an arm without it, the one before it
    changes: tuple[Change, ...]  # of every arm
    seeds: Annotated[tuple[Seed, ...], MinLen(2), Distinct]
    seed_fields: Annotated[tuple[FieldPath, ...], MinLen(1), Distinct]  # that take the seed
    arms: Annotated[tuple[Arm, ...], MinLen(2)]
    control: Comparison  # two draws of the same arm (A/A): what noise alone does
    comparisons: Annotated[tuple[Comparison, ...], MinLen(1)]
    benchmark: Name
    min_difference: Annotated[float, Ge(0), Le(10)]  # bits per byte; smaller ones do not matter
    bootstrap_resamples: Annotated[int, Gt(0), Le(1_000_000)]
    annotator_arms: Annotated[tuple[ArmName, ...], Distinct] = ()
    """Arms that select by annotators of their own: the ranks of these annotators' AUCs are
    correlated with those of the arms' bits per byte (the paper's figure 2). None, or three at
    least."""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [arm.name for arm in self.arms]
        require(len(set(names)) == len(names), f"{self.name}: two arms have one name: {names}")
        pairs = [(each.arm, each.baseline) for each in (self.control, *self.comparisons)]
        for name in (*chain.from_iterable(pairs), *self.annotator_arms):
            require(name in names, f"{self.name}: there is no arm {name}, only {names}")
        require(
            len(self.annotator_arms) not in (1, 2),
            f"{self.name}: ranks of {len(self.annotator_arms)} annotator_arms are not correlated: "
            "name three at least",
        )

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)


def kept_phases(phases: Sequence[PhaseRecipe], dropped: Collection[str]) -> tuple[PhaseRecipe, ...]:
    """The phases that an arm trains, each from the nearest phase before it that is kept.

    ValueError names a dropped phase that there is not, and a phase that would have no parent
    although it is not the first.
    """
    if not dropped:
        return tuple(phases)
    parents = _parents(phases)
    for name in dropped:
        require(name in parents, f"there is no phase {name} to drop, only {list(parents)}")
    kept: list[PhaseRecipe] = []
    for phase in phases:
        if phase.name in dropped:
            continue
        parent = _nearest_kept(parents[phase.name], parents, dropped)
        require(
            parent is not None or not kept,
            f"without {sorted(dropped)} the phase {phase.name} would start from random weights, "
            f"as {kept[0].name if kept else ''} does: drop that one, too",
        )
        kept.append(replace(phase, parent=parent))
    return tuple(kept)


def measured_phase(phases: Sequence[PhaseRecipe], phase: str, dropped: Collection[str]) -> str:
    """The phase itself, or the nearest one before it that an arm keeps; ValueError if none is."""
    kept = _nearest_kept(phase, _parents(phases), dropped)
    require(kept is not None, f"no phase up to {phase} is kept: {sorted(dropped)} are dropped")
    assert kept is not None
    return kept


def _parents(phases: Sequence[PhaseRecipe]) -> dict[str, str | None]:
    """Phase -> the phase that it starts from."""
    previous = [None, *(phase.name for phase in phases)]
    return {
        phase.name: phase.parent or before for phase, before in zip(phases, previous, strict=False)
    }


def _nearest_kept(
    name: str | None, parents: dict[str, str | None], dropped: Collection[str]
) -> str | None:
    while name is not None and name in dropped:
        name = parents[name]
    return name


def change_field(section: Any, path: str, value: Any) -> Any:
    """A recipe section with another value of a field; ValueError names an unknown field."""
    name, _, remainder = path.partition(".")
    if isinstance(section, tuple):
        names = [item.name for item in section]
        require(name in names, f"there is no {name!r} among {names}")
        return tuple(
            change_field(item, remainder, value) if item.name == name else item for item in section
        )
    field_names = [item.name for item in fields(section)] if is_dataclass(section) else []
    require(
        name in field_names,
        f"there is no field {name!r} in {type(section).__name__}: {field_names}",
    )
    return replace(
        section,
        **{name: change_field(getattr(section, name), remainder, value) if remainder else value},
    )


def field_value(section: Any, path: str) -> Any:
    """The value of a field; ValueError names an unknown one."""
    for name in path.split("."):
        if isinstance(section, tuple):
            section = next((item for item in section if item.name == name), None)
        else:
            section = getattr(section, name, None)
        require(section is not None, f"the recipe has no field {path}")
    return section
