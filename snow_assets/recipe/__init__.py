"""Recipes: config of all stages, a frozen dataclass per stage; SMOKE, MICRO, ARCTIC (the paper's).

Fields are validated at construction. `docs/recipe.md` lists where each ARCTIC value is in the paper
(arXiv 2409.02326), and which values the paper does not state.
"""

import importlib
import os

from snow_assets.recipe.annotator import (
    AnnotatorRecipe,
    ExemplarRecipe,
    FilePositives,
    FurtherAnnotator,
    GradeTable,
    RowPositives,
    annotator_values,
)
from snow_assets.recipe.arctic import ARCTIC
from snow_assets.recipe.arctic_sizes import ARCTIC_7B, ARCTIC_13B, ARCTIC_SIZES
from snow_assets.recipe.cluster import SMOKE_CLUSTER
from snow_assets.recipe.data import (
    AcceptanceRecipe,
    ArchiveLimits,
    ContaminationExemption,
    ContaminationRecipe,
    CorpusRecipe,
    CurationRecipe,
    FiltersRecipe,
    NearDuplicatesRecipe,
    Quantization,
    SelectionRecipe,
    Source,
    SynthesisMode,
    SynthesisRecipe,
    TokenizerRecipe,
)
from snow_assets.recipe.micro import MICRO
from snow_assets.recipe.operation import (
    CurationExecution,
    EndpointRecipe,
    OperationRecipe,
    PretrainingExecution,
    WorkerMemory,
)
from snow_assets.recipe.shared import PERMISSIVE_LICENSES, STARCODER2_FILTERS
from snow_assets.recipe.smoke import SMOKE
from snow_assets.recipe.training import (
    Attention,
    Dataset,
    EvaluationRecipe,
    ModelRecipe,
    PackingRecipe,
    PhaseRecipe,
    PretrainingRecipe,
    SamplingRecipe,
)
from snow_assets.recipe.whole import Recipe

__all__ = [
    "ARCTIC",
    "ARCTIC_7B",
    "ARCTIC_13B",
    "ARCTIC_SIZES",
    "MICRO",
    "PERMISSIVE_LICENSES",
    "SMOKE",
    "SMOKE_CLUSTER",
    "STARCODER2_FILTERS",
    "AcceptanceRecipe",
    "AnnotatorRecipe",
    "ArchiveLimits",
    "Attention",
    "ContaminationExemption",
    "ContaminationRecipe",
    "CorpusRecipe",
    "CurationExecution",
    "CurationRecipe",
    "Dataset",
    "EndpointRecipe",
    "EvaluationRecipe",
    "ExemplarRecipe",
    "FilePositives",
    "FiltersRecipe",
    "FurtherAnnotator",
    "GradeTable",
    "ModelRecipe",
    "NearDuplicatesRecipe",
    "OperationRecipe",
    "PackingRecipe",
    "PhaseRecipe",
    "PretrainingExecution",
    "PretrainingRecipe",
    "Quantization",
    "Recipe",
    "RowPositives",
    "SamplingRecipe",
    "SelectionRecipe",
    "Source",
    "SynthesisMode",
    "SynthesisRecipe",
    "TokenizerRecipe",
    "WorkerMemory",
    "annotator_values",
    "chosen_recipe",
    "set_chosen_recipe",
]

_CHOSEN: list[Recipe] = []


def chosen_recipe() -> Recipe:
    """The recipe of `SNOW_RECIPE`: SMOKE (the default), MICRO, ARCTIC..., or `module:VALUE`."""
    if _CHOSEN:
        return _CHOSEN[-1]
    choice = os.environ.get("SNOW_RECIPE", "SMOKE")
    module_name, _, value = choice.rpartition(":")
    try:
        module = importlib.import_module(module_name or __name__)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"SNOW_RECIPE={choice!r}: there is no module {error.name!r}; PYTHONPATH has to name "
            "the folder that holds it"
        ) from error
    recipe = getattr(module, value, None)
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"SNOW_RECIPE={choice!r} names no Recipe: set it to SMOKE, MICRO, ARCTIC, or "
            "module:VALUE"
        )
    return recipe


def set_chosen_recipe(recipe: Recipe) -> None:
    """Choose the recipe of a Job's request, whatever `SNOW_RECIPE` of its pod is.

    The graph follows the recipe that is chosen when it is imported, so call it before.
    """
    _CHOSEN.append(recipe)
