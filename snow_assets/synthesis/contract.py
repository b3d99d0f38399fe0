"""What crosses the border to the two jobs: a teacher's conversion, and generation."""

from dataclasses import dataclass

from snow_assets.recipe import SynthesisRecipe

MODEL = "model"
"""Where a converted teacher's Hugging Face folder lies in its generation."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """Write the quantised model that an installed package carries as a Hugging Face folder."""

    package: str
    sha256: str  # of the GGUF file: another one is refused
    output: str


@dataclass(frozen=True, kw_only=True)
class Converted:
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Answer every row of table `seeds` in `output`, a shard at a time, into table `answers`."""

    output: str
    teacher: str  # a Hugging Face folder; for an endpoint, the model's name there
    endpoint: str  # base URL of an OpenAI-compatible server; empty for vLLM
    recipe: SynthesisRecipe
    prompt_version: str


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What this attempt did; an earlier attempt's chunks are not counted."""

    num_chunks: int
    num_answers: int
    num_answer_tokens: int
    start_seconds: float  # until the engine was ready
    seconds: float  # of generating
