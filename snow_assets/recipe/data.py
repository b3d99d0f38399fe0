"""Config of the data: sources, curation, selection, synthesis."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen

from snow_assets.languages import RECIPE_LANGUAGES
from snow_assets.recipe.validation import (
    MAX_COUNT,
    Count,
    Distinct,
    Fraction,
    LicenseId,
    OptionalSize,
    PositiveFloat,
    PositiveFraction,
    ProperFraction,
    RecipeSection,
    Repeats,
    Seed,
    SourceName,
    Text,
    require,
)

if TYPE_CHECKING:
    Language = str
else:
    Language = Literal[RECIPE_LANGUAGES]


@dataclass(frozen=True, kw_only=True)
class Source(RecipeSection):
    """A snapshot of code; its name is a partition, so a new snapshot needs a new name."""

    name: SourceName
    kind: Literal["distributions", "folder", "archives", "stack_v3", "rows"]
    """distributions: installed Python distributions (`stdlib` = the standard library).
    folder: a folder of repositories. archives: tar, zip, wheel, npm tgz, a repository each.
    stack_v3: Parquet or JSONL, a row per repository with its files inline. rows: Parquet or
    JSONL, a row per file with `content`."""
    locations: Annotated[tuple[Text, ...], MinLen(1), Distinct]
    files_per_repository: Count | None  # of each language, a sample by hash of the name; None: all
    repositories: tuple[Text, ...] = ()
    """For archives: the repository of each location, in order. Without it, the archive's name is
    parsed, and all interpretations of the name are compared with the opt-out list."""
    uncommitted_changes: Literal["ignore", "refuse"] = "ignore"
    """For a folder's git repositories, of which the committed tree is read: whether a repository
    with uncommitted changes is refused."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.repositories) in (0, len(self.locations)),
            f"Source.repositories has {len(self.repositories)} names for {len(self.locations)} "
            "locations: state one for each, or none",
        )
        require(
            self.kind == "archives" or not self.repositories,
            f"Source.repositories is stated for the kind {self.kind!r}: only archives need it",
        )


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits(RecipeSection):
    """Limits of an unpacked archive; an archive that exceeds one is refused as a whole."""

    max_bytes: Count
    max_ratio: Annotated[
        float, Ge(1), Le(1_032)
    ]  # of unpacked to packed size; deflate's maximum is 1032, source code is below 20
    max_members: Count
    max_depth: Annotated[int, Ge(1), Le(4_096)]  # folders in a member's name
    max_name_bytes: Annotated[int, Ge(1), Le(65_536)]


@dataclass(frozen=True, kw_only=True)
class CorpusRecipe(RecipeSection):
    sources: Annotated[tuple[Source, ...], MinLen(1)]
    permissive_licenses: Annotated[
        tuple[LicenseId, ...], MinLen(1), Distinct
    ]  # SPDX; everything else is dropped
    opt_out_list: Text  # URL or path of a file, a repository in each line
    max_file_bytes: Count
    archives: ArchiveLimits
    min_repositories: Count  # of all sources in total; fewer indicate a wrong configuration
    shard_bytes: Count

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [source.name for source in self.sources]
        require(len(set(names)) == len(names), f"two sources share a name: {names}")
        require(
            self.max_file_bytes <= self.shard_bytes,
            f"max_file_bytes {self.max_file_bytes} exceeds shard_bytes {self.shard_bytes}",
        )


@dataclass(frozen=True, kw_only=True)
class FiltersRecipe(RecipeSection):
    """StarCoder2's filter thresholds (arXiv 2402.19173), applied to stored signals."""

    max_lines: Count
    max_mean_line_chars: Annotated[float, Gt(0), Le(MAX_COUNT)]
    max_line_chars: Count
    max_line_chars_of_text: Count  # of languages with only the longest-line filter
    min_alphabetic_fraction: Fraction
    max_encoded_chars: Count
    max_encoded_fraction: Fraction
    max_data_lines: OptionalSize  # JSON, YAML, text
    drop_unparsable: bool


@dataclass(frozen=True, kw_only=True)
class NearDuplicatesRecipe(RecipeSection):
    shingle_words: Annotated[int, Ge(1), Le(256)]
    bands: Annotated[int, Ge(1), Le(256)]
    rows_per_band: Annotated[int, Ge(1), Le(256)]
    min_jaccard: PositiveFraction

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.bands * self.rows_per_band <= 256, "more than 256 hashes are not computed")


@dataclass(frozen=True, kw_only=True)
class ContaminationRecipe(RecipeSection):
    ngram_words: Annotated[int, Ge(1), Le(64)]
    min_ngram_chars: OptionalSize  # of its words; shorter ones are unspecific (`for i in range`)
    # White space removed; shorter problem texts match by accident.
    min_substring_chars: Annotated[int, Ge(8), Le(4_096)]
    gate_window_tokens: Annotated[
        int, Ge(1), Le(4_096)
    ]  # of the gate: number of consecutive normalised tokens that must match


@dataclass(frozen=True, kw_only=True)
class ContaminationExemption(RecipeSection):
    """A reviewed document that is kept although it resembles a benchmark problem."""

    document: Text  # its document_id, or REPOSITORY/PATH
    reason: Text  # recorded in the tables with the matching problem


@dataclass(frozen=True, kw_only=True)
class TokenizerRecipe(RecipeSection):
    pretrained: Text | None  # a folder with a tokenizer.json; None: train a byte-level BPE
    vocab_size: Annotated[int, Ge(300), Le(2**24)]  # 256 bytes and the special tokens at least
    sample_bytes: Count


@dataclass(frozen=True, kw_only=True)
class CurationRecipe(RecipeSection):
    languages: Annotated[tuple[Language, ...], MinLen(1), Distinct]
    filters: FiltersRecipe
    near_duplicates: NearDuplicatesRecipe
    contamination: ContaminationRecipe
    tokenizer: TokenizerRecipe
    held_out_fraction: ProperFraction  # of each language's bytes, in whole repositories
    held_out_tolerance: PositiveFraction  # relative: a share of 0.1 within 0.2 is 0.08 to 0.12
    seed: Seed
    contamination_exemptions: Annotated[tuple[ContaminationExemption, ...], Distinct] = ()


@dataclass(frozen=True, kw_only=True)
class SelectionRecipe(RecipeSection):
    """Percentile -> repeats within each language: rank above `percentiles[i]` -> `repeats[i]`.

    "Top 3.1 % x 4" is `percentiles=(0.969,), repeats=(4,)` with a budget; more steps are possible.
    """

    ranking: Literal["quality", "random", "lowest_quality"]
    """quality: by the annotator's logit (the paper). The others are controls at the same budget."""
    ranking_seed: Seed  # of the random ranking; the others do not read it

    budget_tokens: Count  # repeats included; shared among languages by their raw tokens
    percentiles: Annotated[
        tuple[Fraction, ...], MinLen(1)
    ]  # increasing; documents below the first are not selected
    repeats: Annotated[tuple[Repeats, ...], MinLen(1)]
    max_repeats: Repeats
    fill: Literal["budget", "percentile"]
    """budget: select from the top until the budget is full (the paper); the percentiles then only
    set the repeats. percentile: select every document above the first percentile."""
    ungated_languages: Annotated[tuple[Language, ...], Distinct] = ()
    """Languages that are selected although the annotator has no positives in them, or its gates of
    them failed. Other such languages are not, and the others share the budget."""
    annotator: SourceName | None = None
    """The one of `further_annotators` whose logit ranks, and whose gates are asked; None: the
    recipe's `annotator`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            len(self.percentiles) == len(self.repeats) > 0,
            f"{len(self.percentiles)} percentiles need as many repeats, not {len(self.repeats)}",
        )
        require(
            list(self.percentiles) == sorted(set(self.percentiles)),
            f"percentiles must rise: {self.percentiles}",
        )
        require(
            max(self.repeats) <= self.max_repeats,
            f"repeats {self.repeats} exceed max_repeats {self.max_repeats}",
        )


def selection_values(recipe: SelectionRecipe) -> dict[str, Any]:
    """The values that a subset's address depends on: the recipe's own annotator is not named."""
    values = asdict(recipe)
    if recipe.annotator is None:
        del values["annotator"]
    return values


Quantization = Literal["fp8", "bitsandbytes"]
"""Methods that vLLM applies to unquantized weights while it loads them; a folder of quantized
weights (AWQ, GPTQ, compressed-tensors) states its method in its own config.json."""


_TERMS = ("model_license", "model_terms", "training_terms", "training_permission")

SynthesisMode = Literal["oss_instruct", "rewrite"]
"""What the teacher is asked for: a new file that a snippet of a selected file inspires
(OSS-Instruct, arXiv 2312.02120), or a selected file rewritten, clean and self-contained
(SwallowCode, arXiv 2505.02881)."""


@dataclass(frozen=True, kw_only=True)
class SynthesisRecipe(RecipeSection):
    engine: Literal["vllm", "endpoint"]
    model: Text  # `gguf-package:NAME`, a Hugging Face folder, or the endpoint's model name
    model_license: Text  # SPDX, or LicenseRef-NAME: every synthetic file carries it
    model_terms: Text  # terms of the model's licence or provider for its completions
    training_terms: Literal["permitted", "conditional", "forbidden"]
    """What these terms say of training a model on completions. `conditional`: `model_terms` names
    the conditions, and every synthetic file carries them."""
    training_permission: Text | None
    """Who permits the training that the terms forbid, such as the provider's letter and its date.
    None: a teacher whose terms forbid it is refused."""
    num_requests: Count
    python_fraction: Fraction
    seed_lines: Annotated[
        int, Ge(1), Le(10_000)
    ]  # at most; OSS-Instruct uses 1 to 15 consecutive lines
    max_new_tokens: Count
    temperature: Annotated[float, Ge(0), Le(100)]
    top_p: PositiveFraction
    max_model_len: Count
    quantization: Quantization | None  # of the weights, while vLLM loads them; None: as they are
    reproducible: bool
    """Whether each request has a sampling seed of its own and parts run one after another, so that
    a part's completions depend on its own requests only. It is slower: vLLM's fast sampler knows no
    seeds per request, and the engine idles at the end of each part."""
    chunk_requests: Count  # lost at most by a kill; several times what the engine runs at once
    gpus: Annotated[int, Ge(0), Le(64)]  # tensor-parallel ranks of one vLLM; 0: a CPU
    seed: Seed
    rewrite_fraction: Fraction = 0.0
    """Share of each language's requests with mode `rewrite`; the others have `oss_instruct`."""

    @property
    def modes(self) -> tuple[SynthesisMode, ...]:
        """The modes that have requests."""
        if self.rewrite_fraction == 0:
            return ("oss_instruct",)
        return ("rewrite",) if self.rewrite_fraction == 1 else ("oss_instruct", "rewrite")

    @property
    def terms(self) -> dict[str, str | None]:
        """What the synthetic set records of the teacher's licence and terms."""
        return {name: getattr(self, name) for name in _TERMS}

    @property
    def generation(self) -> dict[str, Any]:
        """The values that completions depend on: neither terms nor the number of GPUs.

        Without `rewrite_fraction` if nothing is rewritten, so that fingerprints from before it was
        a value stay.
        """
        omitted = {*_TERMS, "gpus"}
        if self.rewrite_fraction == 0:
            omitted.add("rewrite_fraction")
        return {name: value for name, value in asdict(self).items() if name not in omitted}

    @property
    def part_requests(self) -> int:
        """Requests of a part, which is written at once. Unless parts are isolated, two of them are
        in progress."""
        return self.chunk_requests if self.reproducible else max(1, self.chunk_requests // 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.max_new_tokens < self.max_model_len,
            f"max_new_tokens {self.max_new_tokens} leaves no room for a prompt "
            f"in max_model_len {self.max_model_len}",
        )
        require(
            self.training_terms != "forbidden" or self.training_permission is not None,
            f"the terms of the teacher {self.model!r} forbid training on its completions: use "
            "another teacher, or name the permission that you have in "
            "SynthesisRecipe.training_permission",
        )
        require(
            self.engine == "vllm" or self.gpus == 0,
            f"SynthesisRecipe.gpus is {self.gpus}: engine {self.engine!r} calls a server and uses "
            "none; set gpus to 0",
        )


@dataclass(frozen=True, kw_only=True)
class AcceptanceRecipe(RecipeSection):
    """Filters of the teacher's completions; a change does not generate any of them again."""

    min_tokens: OptionalSize
    # to its seed, and among accepted completions; with the shingles of near_duplicates
    max_jaccard: PositiveFraction
    execution: Literal["off", "required"] = "off"
    """`required`: a Python file that needs no more than the sandbox has must run to its end there,
    with its tests if it has any (`synthesis/programs.py`). Others are not run."""
    execution_timeout_seconds: PositiveFloat = 10.0  # of a file

    @property
    def config(self) -> dict[str, Any]:
        """The values that the accepted files depend on.

        Without those of execution if it is off, so that fingerprints from before it stay.
        """
        values = asdict(self)
        if self.execution == "off":
            del values["execution"], values["execution_timeout_seconds"]
        return values
