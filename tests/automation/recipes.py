"""Tiny recipes over the folders below `SNOW_TEST_CODE`."""

import os
from dataclasses import replace
from pathlib import Path

from snow_assets.recipe import SMOKE, ExemplarRecipe, Recipe, Source
from tests.quality.builders import a_recipe
from tests.recipes import smoke_phases

_BUDGET = 2_048  # one step of the continued phase, which the recipe asks for at least
CODE = Path(os.environ.get("SNOW_TEST_CODE", "/nonexistent"))

_POSITIVES = replace(
    SMOKE.exemplars.file_groups[0],
    source=replace(
        SMOKE.exemplars.file_groups[0].source,
        locations=("more-itertools", "attrs"),
        files_per_repository=8,
    ),
)


def over(*sources: str, inverse_regularization: float = 1.0) -> Recipe:
    """SMOKE in one language over folders of repositories, with a random one-layer encoder."""
    return replace(
        SMOKE,
        name="FLOW",
        corpus=replace(
            SMOKE.corpus,
            sources=tuple(
                Source(
                    name=name,
                    kind="folder",
                    locations=(str(CODE / name),),
                    files_per_repository=None,
                )
                for name in sources
            ),
            opt_out_list=str(CODE / "opt_outs.txt"),
            min_repositories=1,
        ),
        exemplars=ExemplarRecipe(groups=(_POSITIVES,)),
        curation=replace(
            SMOKE.curation,
            languages=("python",),
            tokenizer=replace(SMOKE.curation.tokenizer, vocab_size=512, sample_bytes=200_000),
        ),
        annotator=a_recipe(str(CODE / "encoder"), inverse_regularization=inverse_regularization),
        selection=replace(SMOKE.selection, budget_tokens=_BUDGET),
        pretraining=replace(
            SMOKE.pretraining, phases=smoke_phases({"continued": {"tokens": _BUDGET}})
        ),
    )


ONE = over("amber")
TWO = over("amber", "birch")
RETRAINED = over("amber", "birch", inverse_regularization=2.0)
