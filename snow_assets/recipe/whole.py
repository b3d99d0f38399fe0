"""The recipe of all stages."""

from dataclasses import dataclass

from snow_assets.recipe.annotator import AnnotatorRecipe, ExemplarRecipe
from snow_assets.recipe.data import (
    AcceptanceRecipe,
    CorpusRecipe,
    CurationRecipe,
    SelectionRecipe,
    SynthesisRecipe,
)
from snow_assets.recipe.experiments import ExperimentRecipe, kept_phases, measured_phase
from snow_assets.recipe.operation import OperationRecipe
from snow_assets.recipe.training import EvaluationRecipe, PretrainingRecipe
from snow_assets.recipe.validation import Name, RecipeSection, require


@dataclass(frozen=True, kw_only=True)
class Recipe(RecipeSection):
    name: Name
    corpus: CorpusRecipe
    exemplars: ExemplarRecipe
    curation: CurationRecipe
    annotator: AnnotatorRecipe
    selection: SelectionRecipe
    synthesis: SynthesisRecipe
    acceptance: AcceptanceRecipe
    pretraining: PretrainingRecipe
    evaluation: EvaluationRecipe
    operation: OperationRecipe
    experiments: tuple[ExperimentRecipe, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.exemplars.chosen_groups(self.annotator.positive_groups)
        context = self.pretraining.model.max_seq_len
        num_processes = self.operation.pretraining.num_processes
        for phase in self.pretraining.phases:
            require(
                phase.global_batch_size % num_processes == 0,
                f"{phase.name}: global_batch_size {phase.global_batch_size} is no multiple of "
                f"{num_processes} processes",
            )
            require(
                phase.data != ("high_quality",) or self.selection.budget_tokens >= phase.tokens,
                f"the selection's budget of {self.selection.budget_tokens} tokens is below the "
                f"{phase.tokens} that the {phase.name} phase trains on",
            )
        require(
            self.evaluation.stride_tokens <= context,
            f"stride_tokens {self.evaluation.stride_tokens} would skip tokens: a window holds "
            f"{context}",
        )
        require(
            self.evaluation.max_new_tokens < context,
            f"max_new_tokens {self.evaluation.max_new_tokens} leaves no room for a prompt in a "
            f"context of {context}",
        )
        phases = self.pretraining.phases
        for experiment in self.experiments:
            self.pretraining.phase(experiment.phase)
            for arm in experiment.arms:
                kept_phases(phases, arm.dropped_phases)
                measured_phase(phases, experiment.phase, arm.dropped_phases)
            require(
                experiment.benchmark in self.evaluation.benchmarks,
                f"experiment {experiment.name} is decided by {experiment.benchmark}, and the "
                f"recipe's benchmarks are {list(self.evaluation.benchmarks)}",
            )
