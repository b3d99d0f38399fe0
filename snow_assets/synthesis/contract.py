"""Requests and reports of the two jobs: teacher conversion and generation."""

from dataclasses import dataclass

from snow_assets.recipe import SynthesisRecipe

SEEDS = "seeds"
"""Table of the requested files, a shard per chunk."""

MODEL = "model"
"""Folder of the converted teacher's Hugging Face model in its artifact."""


@dataclass(frozen=True, kw_only=True)
class ConversionRequest:
    """Convert the GGUF model of an installed package to a Hugging Face folder."""

    package: str
    sha256: str  # expected, of the GGUF file
    output: str


@dataclass(frozen=True, kw_only=True)
class ConversionReport:
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """Generate a completion for every row of table `seeds` in `output`, into table `answers`."""

    output: str
    teacher: str  # a Hugging Face folder; the model's name if `endpoint` is set
    endpoint: str  # base URL of an OpenAI-compatible server; empty for vLLM
    recipe: SynthesisRecipe
    prompt_version: str


@dataclass(frozen=True, kw_only=True)
class GenerationReport:
    """Counts and times of this attempt, without the chunks of earlier attempts."""

    num_chunks: int
    num_answers: int
    num_answer_tokens: int
    start_seconds: float  # until the engine was ready
    seconds: float  # of generation, without startup
