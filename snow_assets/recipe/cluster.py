"""SMOKE_CLUSTER: SMOKE over the distributions that the orchestrator's image holds.

In a cluster, sources are read and packaged models are looked up in the image: build it with
`--build-arg MODELS=1`. No object store has to hold anything before the first run.
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
