"""Config of the quality annotator: groups of positives, grades, encoder, head, gates."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import StringConstraints

from snow_assets.recipe.data import Language, Source
from snow_assets.recipe.validation import (
    Count,
    Distinct,
    Fraction,
    LicenseId,
    OptionalSize,
    PositiveFraction,
    ProperFraction,
    RecipeSection,
    Seed,
    SingleProcessGpus,
    SourceName,
    Text,
    Threads,
    require,
)

GroupWeight = Annotated[float, Gt(0), Le(1_000)]
"""Of each positive of a group in the head's loss; a negative has 1."""
MAX_GRADE = 5.0
"""Grades are 0 (no value) to 5, as FineWeb-Edu's are."""
Grade = Annotated[float, Ge(0), Le(MAX_GRADE)]


@dataclass(frozen=True, kw_only=True)
class FilePositives(RecipeSection):
    """A group of positives: files of a source, which is read as the corpus's sources are.

    Its repositories never enter the corpus.
    """

    source: Source
    min_docstring_chars: OptionalSize | None
    """Python functions with a docstring as long as this are positives, too: the docstring, then the
    function; at most `source.files_per_repository` of a repository. None: only files are."""
    max_positives: Count
    weight: GroupWeight
    includes_files: bool = True  # False: only such functions are positives

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.includes_files or self.min_docstring_chars is not None,
            f"the group {self.name} has neither files nor functions: state "
            "FilePositives.min_docstring_chars",
        )

    @property
    def name(self) -> str:
        return self.source.name


@dataclass(frozen=True, kw_only=True)
class RowPositives(RecipeSection):
    """A group of positives: a text in each row of Parquet or JSONL files, without repositories.

    A text is the prompt, a blank line and the response; the response alone; or the messages of a
    chat, without the system's.
    """

    name: SourceName
    locations: Annotated[tuple[Text, ...], MinLen(1), Distinct]
    license: LicenseId  # of the whole data set, as its publisher states it
    prompt_column: Text | None
    response_column: Text | None
    messages_column: Text | None  # of lists of {role, content} or {from, value}
    language_column: Text | None
    """Without it a row's language is that of the response's first labelled code block."""
    default_language: Language | None  # of rows that state none; None: these are refused
    max_positives: Count
    weight: GroupWeight

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            (self.response_column is None) != (self.messages_column is None),
            f"RowPositives.response_column is {self.response_column!r} and "
            f"RowPositives.messages_column {self.messages_column!r}: state one of them",
        )
        require(
            self.prompt_column is None or self.response_column is not None,
            f"RowPositives.prompt_column is {self.prompt_column!r} without a response_column",
        )


@dataclass(frozen=True, kw_only=True)
class ExemplarRecipe(RecipeSection):
    """What the annotator learns to call good code; none of it enters the corpus."""

    groups: Annotated[tuple[FilePositives | RowPositives, ...], MinLen(1)]

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [group.name for group in self.groups]
        require(
            len(set(names)) == len(names),
            f"two groups of ExemplarRecipe.groups share a name: {names}",
        )

    def chosen_groups(self, names: Sequence[str]) -> tuple[FilePositives | RowPositives, ...]:
        """The groups of these names, all if there are none; ValueError for an unknown name."""
        group_names = [group.name for group in self.groups]
        for name in names:
            require(
                name in group_names, f"exemplars.groups have no group {name!r}, only {group_names}"
            )
        return tuple(group for group in self.groups if not names or group.name in names)

    @property
    def file_groups(self) -> tuple[FilePositives, ...]:
        return tuple(group for group in self.groups if isinstance(group, FilePositives))


@dataclass(frozen=True, kw_only=True)
class GradeTable(RecipeSection):
    """Grades of texts, 0 to 5, in rows of Parquet or JSONL files.

    A row holds a text, or names a document of the clean corpus by `text_id`, or by repository and
    path. A text with several rows has their mean grade.
    """

    name: SourceName
    locations: Annotated[tuple[Text, ...], MinLen(1), Distinct]
    grade_column: Text
    text_column: Text | None
    text_id_column: Text | None
    repository_column: Text | None
    path_column: Text | None
    language_column: Text | None  # of rows with texts, as of `RowPositives`
    default_language: Language | None
    license: LicenseId | None  # of the texts that rows hold
    grader: Text  # `human`, or the name of the model that graded
    rubric: Text | None  # what the grades mean
    weight: GroupWeight

    def __post_init__(self) -> None:
        super().__post_init__()
        stated = [
            self.text_column is not None,
            self.text_id_column is not None,
            self.repository_column is not None and self.path_column is not None,
        ]
        require(
            sum(stated) == 1 and (self.repository_column is None) == (self.path_column is None),
            f"GradeTable {self.name}: state text_column, or text_id_column, or repository_column "
            "and path_column",
        )
        require(
            (self.license is None) == (self.text_column is None),
            f"GradeTable {self.name}: a license belongs to a text_column, and is {self.license!r}",
        )


@dataclass(frozen=True, kw_only=True)
class AnnotatorRecipe(RecipeSection):
    encoder: Text
    """An encoder of any architecture with an AutoModel class in transformers: `package:NAME` (a
    folder in an installed package), or a folder with config, tokenizer and safetensors."""
    pooling: Literal["cls", "mean"]
    window_tokens: Annotated[int, Ge(32), Le(8_192)]  # BERT reads 512, ModernBERT 8,192
    precision: Literal["auto", "fp32", "fp16", "bf16"]
    """Of the encoder; head and scores are fp32. `auto`: on a CPU bf16 if it has such instructions,
    else fp32; on a GPU fp16. The annotator records the choice of the machine that trained it."""
    batch_tokens: Count
    max_positives: Count
    negatives_per_positive: Annotated[float, Gt(0), Le(1_000)]  # in training
    validation_fraction: ProperFraction  # of repositories, by hash
    validation_negatives: Count  # held-out random files; more of them narrow the gate's intervals
    length_match_ratio: Annotated[
        float, Gt(1), Le(1_000)
    ]  # maximum length ratio of a length-matched negative and its positive
    inverse_regularization: Annotated[float, Gt(0), Le(1e6)]
    """`C` of scikit-learn's LogisticRegression: the head's weights are penalised by its inverse."""
    max_iter: Annotated[int, Ge(1), Le(100_000)]
    min_auc: Fraction  # lower 95 % bound on held-out examples
    min_length_matched_auc: Fraction
    min_benchmark_auc: Fraction
    part_texts: Count  # scored per atomic write, the maximum that a kill loses
    threads: Threads  # of a job's CPU, each with its own batch: embeddings do not depend on it
    gpus: SingleProcessGpus
    seed: Seed
    positive_groups: Annotated[tuple[SourceName, ...], Distinct] = ()
    """The groups of `exemplars` that it learns from; none stated: all."""
    labels: Literal["stated", "shuffled"] = "stated"
    """shuffled: of the training examples, by `seed`: a control that learns nothing from them."""
    target: Literal["positives", "grades"] = "positives"
    """positives: the head is a logistic regression, positives against random files (the paper).
    grades: it is a ridge regression on the grades of `grades`, and a score is a predicted grade."""
    grades: tuple[GradeTable, ...] = ()
    positive_grade: Grade | None = None
    """With the target `grades`, that of each positive in training; None: positives are not trained
    on, and only measured by the AUCs."""
    min_rank_correlation: PositiveFraction | None = None
    """Lower 95 % bound of Spearman's correlation of scores with held-out grades."""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [table.name for table in self.grades]
        require(len(set(names)) == len(names), f"two tables of grades share a name: {names}")
        is_stated = {
            "grades": bool(self.grades),
            "min_rank_correlation": self.min_rank_correlation is not None,
        }
        for name, is_one in is_stated.items():
            require(
                is_one == (self.target == "grades"),
                f"AnnotatorRecipe.{name} is {getattr(self, name)!r} with the target "
                f"{self.target!r}: it belongs to the target 'grades', which needs it",
            )
        require(
            self.positive_grade is None or self.target == "grades",
            f"AnnotatorRecipe.positive_grade is {self.positive_grade} with the target "
            f"{self.target!r}: it belongs to the target 'grades'",
        )
        require(
            self.labels == "stated" or self.target == "positives",
            f"AnnotatorRecipe.labels is {self.labels!r} with the target {self.target!r}: only "
            "positives and negatives are shuffled",
        )
        require(
            self.batch_tokens >= self.window_tokens,
            f"batch_tokens {self.batch_tokens} is below one window of {self.window_tokens}",
        )


@dataclass(frozen=True, kw_only=True)
class FurtherAnnotator(RecipeSection):
    """An annotator beside the recipe's own: their scores are compared. `selection.annotator` may
    name it as the one that selects."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
    annotator: AnnotatorRecipe


def annotator_values(recipe: AnnotatorRecipe) -> dict[str, Any]:
    """The values that an annotator's address depends on, groups of positives in name order.

    Fields with a default came after the first addresses: such a default is left out.
    """
    values = {
        **asdict(recipe),
        "positive_groups": tuple(sorted(recipe.positive_groups)),
    }
    return {
        field.name: values[field.name]
        for field in fields(recipe)
        if values[field.name] != field.default
    }
