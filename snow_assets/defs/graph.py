"""The recipe's graph: every stage, each after the stages that it reads."""

from snow_assets.defs import corpus, curation, evaluation, pretraining, quality, synthesis
from snow_assets.stages import Stage

STAGES: tuple[Stage, ...] = (
    corpus.opt_outs,
    corpus.benchmark_problems,
    corpus.exemplars,
    corpus.raw_code_corpus,
    curation.documents,
    curation.signatures,
    curation.near_duplicates,
    curation.contamination,
    curation.tokenizer,
    curation.clean_corpus,
    curation.dataset_exports,
    quality.annotator_examples,
    quality.quality_annotator,
    quality.quality_scores,
    quality.high_quality_subset,
    quality.high_quality_dataset,
    synthesis.teacher_model,
    synthesis.synthetic_answers,
    synthesis.synthetic_set,
    *pretraining.PACKS.values(),
    *pretraining.CHECKPOINTS.values(),
    evaluation.benchmark_results,
)

STAGE_BY_NAME = {stage.name: stage for stage in STAGES}
