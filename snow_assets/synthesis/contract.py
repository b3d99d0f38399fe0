"""Requests and reports of the jobs: teacher conversion, generation, execution of the files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snow_assets.recipe import EndpointRecipe, SynthesisMode, SynthesisRecipe

SEEDS = "seeds"
"""Table of the requested files, a shard per part."""


def seed_mode(row: Mapping[str, Any]) -> SynthesisMode:
    """The mode of a row of `seeds`, whose table states none if nothing is rewritten."""
    mode: SynthesisMode = row.get("mode") or "oss_instruct"
    return mode


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
    """Generate a completion for every row of table `seeds` in `output`, into table
    `completions`."""

    output: str
    teacher: str  # a Hugging Face folder; the model's name if `endpoint_url` is set
    endpoint_url: str  # base URL of an OpenAI-compatible server; empty for vLLM
    endpoint: EndpointRecipe
    recipe: SynthesisRecipe
    prompt_version: str


@dataclass(frozen=True, kw_only=True)
class FileExecutionRequest:
    """Run generated files' programs (`programs.program`); self-contained, as the sandbox has no
    access to the lake."""

    programs: tuple[str, ...]
    timeout_seconds: float  # of each
    num_cpus: int  # programs that run at the same time, at most one per core


@dataclass(frozen=True, kw_only=True)
class FileExecution:
    """Outcome of one program, a `sandbox.Outcome`, and the end of its traceback if it failed."""

    outcome: str
    message: str
    num_tests: int = 0  # that ran, of a program that passed


@dataclass(frozen=True, kw_only=True)
class FileExecutionReport:
    """Outcomes of all programs, in the order of the request."""

    isolation: str
    executions: tuple[FileExecution, ...]
