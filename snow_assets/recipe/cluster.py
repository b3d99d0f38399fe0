"""SMOKE_CLUSTER: SMOKE with the distributions of the orchestrator's image.

In a cluster, sources and packaged models are read from the image: build it with
`--build-arg MODELS=1`. The object store may be empty before the first run.
"""

from dataclasses import replace

from snow_assets.recipe.smoke import SMOKE

NOT_IN_THE_IMAGE = frozenset(
    {
        "datasets",
        "greenlet",
        "mpmath",
        "mypy",
        "pip",
        "playwright",
        "pytest",
        "sympy",
        "torch",
        "transformers",
    }
)
"""Distributions that SMOKE reads, and that the project's extra `orchestrator` does not install."""

SMOKE_CLUSTER = replace(
    SMOKE,
    name="SMOKE_CLUSTER",
    corpus=replace(
        SMOKE.corpus,
        sources=tuple(
            replace(
                source,
                locations=tuple(
                    location
                    for location in source.locations
                    if location.partition(":")[0] not in NOT_IN_THE_IMAGE
                ),
            )
            for source in SMOKE.corpus.sources
        ),
    ),
)
