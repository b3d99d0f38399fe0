"""The recipe of all stages."""

from dataclasses import dataclass, replace

from snow_assets.recipe.annotator import (
    AnnotatorRecipe,
    ExemplarRecipe,
    FurtherAnnotator,
    GradeTable,
)
from snow_assets.recipe.data import (
    AcceptanceRecipe,
    CorpusRecipe,
    CurationRecipe,
    SelectionRecipe,
    SynthesisRecipe,
)
from snow_assets.recipe.experiments import (
    ExperimentRecipe,
    PromotionGate,
    kept_phases,
    measured_phase,
)
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
    further_annotators: tuple[FurtherAnnotator, ...] = ()
    promotion_gates: tuple[PromotionGate, ...] = ()
    """What has to be decided, and not as worse, before MLflow's alias of the recipe moves to its
    models; no part of any address."""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [further.name for further in self.further_annotators]
        require(len(set(names)) == len(names), f"two further_annotators share a name: {names}")
        require(
            self.selection.annotator in (None, *names),
            f"selection.annotator is {self.selection.annotator!r}, and further_annotators are "
            f"{names}",
        )
        for item in self.annotators:
            self.exemplars.chosen_groups(item.positive_groups)
        learned = [
            *(group.name for group in self.exemplars.groups),
            *(table.name for table in self.grade_tables),
        ]
        require(
            len(set(learned)) == len(learned),
            f"a group of exemplars.groups and a table of annotator.grades share a name: {learned}",
        )
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
        compared = {
            (experiment.name, comparison.arm, comparison.baseline)
            for experiment in self.experiments
            for comparison in experiment.comparisons
        }
        for gate in self.promotion_gates:
            require(
                (gate.experiment, gate.arm, gate.baseline) in compared,
                f"promotion_gates name {gate.experiment}: {gate.arm} against {gate.baseline}, "
                f"and the recipe's experiments compare {sorted(compared)}",
            )

    @property
    def annotators(self) -> tuple[AnnotatorRecipe, ...]:
        """The recipe's own, then the further ones."""
        return (self.annotator, *(further.annotator for further in self.further_annotators))

    @property
    def selecting_annotator(self) -> AnnotatorRecipe:
        """The one whose scores select."""
        name = self.selection.annotator
        return self.annotator if name is None else self._further_annotator(name)

    @property
    def grade_tables(self) -> tuple[GradeTable, ...]:
        """The tables of grades that any annotator learns from, each once."""
        return tuple(dict.fromkeys(table for item in self.annotators for table in item.grades))

    def with_annotator(self, name: str) -> "Recipe":
        """The recipe whose own annotator, which selects, is this further one."""
        return replace(
            self,
            annotator=self._further_annotator(name),
            selection=replace(self.selection, annotator=None),
            further_annotators=(),
            experiments=(),
            promotion_gates=(),
        )

    def _further_annotator(self, name: str) -> AnnotatorRecipe:
        (further,) = (item for item in self.further_annotators if item.name == name)
        return further.annotator
