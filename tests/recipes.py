"""Small recipes for whole-graph tests: `SNOW_RECIPE=tests.recipes:TINY`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from snow_assets.recipe import SMOKE, FurtherAnnotator, PhaseRecipe
from snow_assets.recipe.experiments import (
    Arm,
    Change,
    Comparison,
    ExperimentRecipe,
    PromotionGate,
)


def smoke_phases(changes: Mapping[str, Mapping[str, Any]]) -> tuple[PhaseRecipe, ...]:
    """SMOKE's phases, with changed values by the phase's name."""
    return tuple(
        replace(phase, **changes.get(phase.name, {})) for phase in SMOKE.pretraining.phases
    )


_STEP = SMOKE.pretraining.phases[0].global_batch_size * SMOKE.pretraining.model.max_seq_len

TINY = replace(
    SMOKE,
    name="TINY",
    corpus=replace(
        SMOKE.corpus,
        sources=tuple(
            replace(source, files_per_repository=max(6, (source.files_per_repository or 60) // 5))
            for source in SMOKE.corpus.sources
        ),
    ),
    curation=replace(SMOKE.curation, languages=("c", "python")),
    annotator=replace(SMOKE.annotator, max_positives=200, validation_negatives=80),
    # So few examples decide about no language.
    selection=replace(SMOKE.selection, budget_tokens=20 * _STEP, ungated_languages=("c", "python")),
    synthesis=replace(SMOKE.synthesis, num_requests=8, chunk_requests=8, max_new_tokens=256),
    pretraining=replace(
        SMOKE.pretraining,
        phases=smoke_phases(
            {
                "general": {"tokens": 20 * _STEP},
                "continued": {"tokens": 10 * _STEP},
                "enhanced": {"tokens": _STEP // 2},
            }
        ),
    ),
    evaluation=replace(SMOKE.evaluation, held_out_documents_per_language=4, max_problems=2),
)
"""SMOKE with a fifth of its files in two languages."""

FOUR_PHASES = replace(
    TINY,
    name="FOUR_PHASES",
    pretraining=replace(
        TINY.pretraining,
        phases=(
            *TINY.pretraining.phases,
            replace(
                TINY.pretraining.phase("enhanced"),
                name="annealing",
                data=("high_quality", "synthetic"),
                parent="continued",
                python_fraction=None,
            ),
        ),
    ),
)
"""TINY with a second phase that starts from the continued one."""

TWO_ANNOTATORS = replace(
    TINY,
    name="TWO_ANNOTATORS",
    further_annotators=(
        FurtherAnnotator(
            name="short_windows",
            annotator=replace(TINY.annotator, window_tokens=32),
        ),
    ),
)
"""TINY with a second annotator."""

SELECTED_BY_ANOTHER = replace(
    TWO_ANNOTATORS,
    name="SELECTED_BY_ANOTHER",
    selection=replace(TWO_ANNOTATORS.selection, annotator="short_windows"),
)
"""TINY whose second annotator selects."""

MINIMAL = replace(
    TINY,
    name="MINIMAL",
    corpus=replace(
        TINY.corpus,
        sources=tuple(source for source in TINY.corpus.sources if source.name != "stdlib"),
    ),
    # How many of the files are accepted depends on the CPU's arithmetic: one is enough.
    synthesis=replace(TINY.synthesis, num_requests=10, chunk_requests=10, max_new_tokens=160),
    pretraining=replace(
        TINY.pretraining,
        phases=tuple(
            replace(phase, max_passes=100) if phase.name == "enhanced" else phase
            for phase in TINY.pretraining.phases
        ),
    ),
)
"""TINY with two sources and shorter synthetic files: a whole run that tests start many times."""

_ONCE = Change(field="selection.repeats", value=(1,))
_RANDOM = Change(field="selection.ranking", value="random")
_NO_GATES = tuple(
    Change(field=f"annotator.{name}", value=0.0)
    for name in ("min_auc", "min_length_matched_auc", "min_benchmark_auc")
)
_NO_LEARNING = tuple(
    Change(field=f"pretraining.phases.continued.{name}", value=1e-9)
    for name in ("final_learning_rate", "peak_learning_rate")
)
EXPERIMENT = replace(
    TINY,
    name="EXPERIMENT",
    experiments=(
        ExperimentRecipe(
            name="claim",
            phase="continued",
            changes=(Change(field="selection.budget_tokens", value=10 * _STEP),),
            seeds=(0, 1),
            seed_fields=("selection.ranking_seed", "pretraining.seed"),
            arms=(
                Arm(name="random", changes=(_RANDOM, _ONCE)),
                Arm(
                    name="random_again",
                    changes=(_RANDOM, _ONCE),
                    seed_offsets=(Change(field="selection.ranking_seed", value=1_000),),
                ),
                Arm(name="selected", changes=(_ONCE,)),
                Arm(
                    name="shuffled",
                    changes=(_ONCE, *_NO_GATES, Change(field="annotator.labels", value="shuffled")),
                ),
                Arm(
                    name="untrained",
                    changes=(_ONCE, *_NO_LEARNING),
                    dropped_phases=("general",),
                ),
            ),
            control=Comparison(arm="random_again", baseline="random"),
            comparisons=(
                Comparison(arm="selected", baseline="random"),
                Comparison(arm="untrained", baseline="selected"),
            ),
            benchmark="HumanEval",
            min_difference=0.01,
            bootstrap_resamples=1_000,
            annotator_arms=("selected", "shuffled", "untrained"),
        ),
    ),
    promotion_gates=(PromotionGate(experiment="claim", arm="untrained", baseline="selected"),),
)
"""TINY with five arms and two seeds; one arm leaves out a phase and learns nothing, which is worse
and holds promotion back; one has a control's annotator."""

_DISTRIBUTIONS = tuple(source for source in TINY.corpus.sources if source.name == "distributions")
_NARROW = (
    Change(field="corpus.sources", value=_DISTRIBUTIONS),
    Change(field="pretraining.phases.general.tokens", value=6 * _STEP),
)
SOURCES = replace(
    MINIMAL,
    name="SOURCES",
    curation=replace(MINIMAL.curation, languages=("python",)),
    selection=replace(MINIMAL.selection, ungated_languages=("python",)),
    experiments=(
        ExperimentRecipe(
            name="sources",
            phase="general",
            changes=(Change(field="pretraining.phases.general.tokens", value=8 * _STEP),),
            seeds=(0, 1),
            seed_fields=("pretraining.seed",),
            arms=(
                Arm(name="whole", changes=()),
                Arm(name="narrow", changes=_NARROW),
                Arm(
                    name="narrow_again",
                    changes=_NARROW,
                    seed_offsets=(Change(field="pretraining.seed", value=1_000),),
                ),
            ),
            control=Comparison(arm="narrow_again", baseline="narrow"),
            comparisons=(Comparison(arm="narrow", baseline="whole"),),
            benchmark="HumanEval",
            min_difference=0.01,
            bootstrap_resamples=1_000,
        ),
    ),
)
"""Two sources, and an experiment of which one arm is trained on both and two on one of them."""

SOURCES_WITHOUT_NATIVE = replace(SOURCES, corpus=replace(SOURCES.corpus, sources=_DISTRIBUTIONS))
"""The same recipe after the source `native` was dropped."""
