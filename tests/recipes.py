"""Small recipes for whole-graph tests: `SNOW_RECIPE=tests.recipes:TINY`."""

from dataclasses import replace

from snow_assets.recipe import SMOKE

_STEP = SMOKE.pretraining.general.batch_sequences * SMOKE.pretraining.model.context_tokens

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
    selection=replace(SMOKE.selection, budget_tokens=20 * _STEP),
    synthesis=replace(SMOKE.synthesis, requests=8, chunk_requests=8, max_new_tokens=256),
    pretraining=replace(
        SMOKE.pretraining,
        general=replace(SMOKE.pretraining.general, tokens=20 * _STEP),
        continued=replace(SMOKE.pretraining.continued, tokens=10 * _STEP),
        enhanced=replace(SMOKE.pretraining.enhanced, tokens=_STEP // 2),
    ),
    evaluation=replace(SMOKE.evaluation, held_out_documents_per_language=4, problems=2),
)
"""SMOKE with a fifth of its files in two languages, for the way through an object store."""

KILLS = replace(
    TINY,
    name="KILLS",
    corpus=replace(
        TINY.corpus,
        sources=tuple(source for source in TINY.corpus.sources if source.name != "stdlib"),
    ),
    synthesis=replace(TINY.synthesis, requests=4, chunk_requests=4, max_new_tokens=96),
)
"""TINY with two sources and shorter synthetic files: a run that is started again many times."""
