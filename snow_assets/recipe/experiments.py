"""Config of experiments: arms, each a set of changed recipe values, trained with several seeds."""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import StringConstraints

from snow_assets.recipe.training import PhaseName
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
    """A variant of the recipe. `seed_offsets` are added to seeds: another draw of the same arm."""

    name: ArmName
    changes: tuple[Change, ...]
    seed_offsets: tuple[Change, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Comparison(RecipeSection):
    """An arm against a baseline, paired by seed and text."""

    arm: ArmName
    baseline: ArmName


@dataclass(frozen=True, kw_only=True)
class ExperimentRecipe(RecipeSection):
    """Arms x seeds of the recipe up to a phase, and the comparisons that are decided on.

    The metric is bits per byte of a benchmark's canonical solutions (its test half), the
    less the better: pass@1 of small models is 0 (DataDecide, arXiv 2504.11393).
    """

    name: ArmName
    phase: PhaseName  # whose checkpoint is measured
    changes: tuple[Change, ...]  # of every arm
    seeds: Annotated[tuple[Seed, ...], MinLen(2), Distinct]
    seed_fields: Annotated[tuple[FieldPath, ...], MinLen(1), Distinct]  # that take the seed
    arms: Annotated[tuple[Arm, ...], MinLen(2)]
    control: Comparison  # two draws of the same arm (A/A): what noise alone does
    comparisons: Annotated[tuple[Comparison, ...], MinLen(1)]
    benchmark: Name
    min_difference: Annotated[float, Ge(0), Le(10)]  # bits per byte; smaller ones do not matter
    bootstrap_resamples: Annotated[int, Gt(0), Le(1_000_000)]

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [arm.name for arm in self.arms]
        require(len(set(names)) == len(names), f"{self.name}: two arms have one name: {names}")
        for comparison in (self.control, *self.comparisons):
            for name in (comparison.arm, comparison.baseline):
                require(name in names, f"{self.name}: there is no arm {name}, only {names}")

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)


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
