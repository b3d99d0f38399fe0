"""A small lake with all that synthesis reads, and a teacher that completes from a list."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from dagster_pipes import PipesContext
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from snow_assets.corpus import opt_outs
from snow_assets.recipe import SMOKE, SynthesisRecipe
from snow_assets.runtime import worker
from snow_assets.storage import shards
from snow_assets.storage.ids import document_id, text_id
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from snow_assets.storage.schemas.curation import DECISION, DOCUMENT
from snow_assets.storage.schemas.quality import SELECTION
from snow_assets.storage.schemas.synthesis import SYNTHETIC_COMPLETION, SYNTHETIC_SEED
from snow_assets.synthesis.acceptance import AcceptanceFilters
from snow_assets.synthesis.engine import CompletedParts, Completion, Engine, Parts, Prompt
from snow_resources.lake import Lake
from tests import artifacts
from tests.tables.lake import row_of

PROBLEM = {
    "problem_id": "HumanEval/1000",
    "benchmark": "HumanEval",
    "prompt": (
        "def weighted_median(values, weights):\n"
        '    """Return the smallest value at which the weights of all values up to it reach half '
        'of the total weight of everything that was given."""\n'
    ),
    "solution": (
        "    pairs = sorted(zip(values, weights))\n"
        "    total = sum(weights)\n"
        "    passed = 0\n"
        "    for value, weight in pairs:\n"
        "        passed = passed + weight\n"
        "        if passed * 2 >= total:\n"
        "            return value\n"
        "    return None\n"
    ),
    "test": "",
    "entry_point": "weighted_median",
    "is_validation": False,
}


def a_recipe(**changed: Any) -> SynthesisRecipe:
    values = {
        field: getattr(SMOKE.synthesis, field) for field in SMOKE.synthesis.__dataclass_fields__
    }
    return SynthesisRecipe(**{**values, "num_requests": 8, "chunk_requests": 4, **changed})


def a_module(name: str) -> str:
    """Python of some twenty lines, different for each name."""
    body = "".join(
        f"    {name}_total_{step} = sum({name}_values[{step}:]) * {step + 2}\n"
        f"    print('{name} step {step}', {name}_total_{step})\n"
        for step in range(8)
    )
    return f"def {name}_report({name}_values):\n{body}    return {name}_values\n"


def an_artifact(
    lake: Lake, asset: str, partition: str, *, inputs: Sequence[str] = (), recipe: str = "SMOKE"
) -> Callable[..., str]:
    """Returns `finish(**tables)`, which writes the tables and the recipe's pointer."""
    folder = lake.artifact(asset, partition, f"{asset}-1")

    def finish(**tables: tuple[pa.Schema, list[dict[str, Any]], dict[str, Any]]) -> str:
        for table, (schema, rows, stats) in tables.items():
            shards.put_table(folder, table, 0, rows, schema, stats=stats)
        artifacts.finish(folder, inputs=inputs, recipe=recipe)
        artifacts.point(lake.url, folder, recipe)
        return folder

    return finish


def a_subset(
    lake: Lake, language: str, texts: Mapping[str, str], *, held_out: Sequence[str] = ()
) -> tuple[str, str]:
    """`high_quality_subset` and `clean_corpus` of a language; keys are repositories."""
    rows = [_row(language, repository, text) for repository, text in sorted(texts.items())]
    documents = an_artifact(lake, "documents", f"source-{language}")(
        documents=(DOCUMENT, rows, {"language": language})
    )
    key = "/".join(documents.rsplit("/", 2)[1:] + [shards.table_name("documents", 0)])
    decided = [
        {
            **{name: row[name] for name in DECISION.names if name in row},
            "kept": True,
            "split": "held_out" if row["repository"] in held_out else "train",
            "num_tokens": len(row["text"].split()),
        }
        for row in rows
    ]
    clean = an_artifact(lake, "clean_corpus", language, inputs=[documents])(
        decisions=(DECISION, decided, {"documents": key, "language": language})
    )
    chosen = [
        {
            "document_id": row["document_id"],
            "text_id": row["text_id"],
            "repository": row["repository"],
            "license": row["license"],
            "num_tokens": row["num_tokens"],
            "logit": 1.0,
            "percentile": 0.5,
            "repeats": 2,
        }
        for row in [{**one, **two} for one, two in zip(rows, decided, strict=True)]
    ]
    subset = an_artifact(lake, "high_quality_subset", language, inputs=[clean])(
        documents=(SELECTION, chosen, {})
    )
    return subset, clean


def _row(language: str, repository: str, text: str) -> dict[str, Any]:
    raw = text_id(text)
    return row_of(
        DOCUMENT,
        document_id=document_id("here", repository, "main", raw),
        raw_id=raw,
        source="here",
        repository=repository,
        path="main",
        license="MIT",
        text_id=raw,
        language=language,
        text=text,
        num_bytes=len(text),
    )


def problems() -> pa.Table:
    return pa.Table.from_pylist([PROBLEM], schema=BENCHMARK_PROBLEM)


def put_problems(lake: Lake) -> str:
    return an_artifact(lake, "benchmark_problems", "all")(
        problems=(BENCHMARK_PROBLEM, [PROBLEM], {})
    )


def put_opt_outs(lake: Lake, *names: str) -> str:
    opt_outs.write(lake.artifact("opt_outs", "all", "opt_outs-1"), names)
    return an_artifact(lake, "opt_outs", "all")()


def a_tokenizer() -> Tokenizer:
    """One token per word or run of signs, all unknown: enough to count."""
    tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def put_tokenizer(lake: Lake) -> str:
    folder = lake.artifact("tokenizer", "all", "tokenizer-1")
    shards.put_file(folder, "tokenizer/tokenizer.json", a_tokenizer().to_str().encode())
    return an_artifact(lake, "tokenizer", "all")()


def rules(**changed: Any) -> AcceptanceFilters:
    return AcceptanceFilters(
        **{
            "recipe": SMOKE.acceptance,
            "near_duplicates": SMOKE.curation.near_duplicates,
            "contamination": SMOKE.curation.contamination,
            "problems": problems(),
            "tokenizer": a_tokenizer(),
            **changed,
        }
    )


def put_completions(
    lake: Lake,
    completions: Sequence[str | Completion],
    *,
    snippet: str = "x",
    language: str = "python",
    mode: str | None = None,
) -> str:
    """A finished `synthetic_completions`, two rows a shard; strings ended by themselves."""
    folder = lake.artifact("synthetic_completions", "all", "synthetic_completions-1")
    for start in range(0, len(completions), 2):
        chunk = list(enumerate(completions))[start : start + 2]
        seeds = [
            a_seed(number, snippet=snippet, language=language, mode=mode) for number, _ in chunk
        ]
        written = [_completion_row(number, completion) for number, completion in chunk]
        shards.put_table(folder, "seeds", start // 2, seeds, SYNTHETIC_SEED)
        shards.put_table(folder, "completions", start // 2, written, SYNTHETIC_COMPLETION)
    return an_artifact(lake, "synthetic_completions", "all")()


def a_seed(
    number: int, *, snippet: str = "x", language: str = "python", mode: str | None = None
) -> dict[str, str | None]:
    return {
        "document_id": text_id(f"request {number}"),
        "language": language,
        "snippet": snippet,
        "seed_document_id": text_id(f"seed {number}"),
        "seed_repository": f"repository-{number}",
        "seed_license": "MIT",
        "mode": mode,
    }


def _completion_row(number: int, completion: str | Completion) -> dict[str, Any]:
    if isinstance(completion, str):
        completion = a_completion(completion)
    return {
        "document_id": text_id(f"request {number}"),
        "completion": completion.text,
        "finish_reason": completion.finish_reason,
        "evidence": completion.evidence,
        "num_prompt_tokens": completion.num_prompt_tokens,
        "num_completion_tokens": completion.num_completion_tokens,
        "engine": "list 1",
    }


def a_completion(
    text: str, *, finish_reason: str = "stop", evidence: str | None = None
) -> Completion:
    return Completion(
        text=text,
        finish_reason=finish_reason,
        num_prompt_tokens=3,
        num_completion_tokens=4,
        evidence=evidence,
    )


def a_file(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}```"


def an_engine(completion: Callable[[Prompt], Completion] | None = None) -> Engine:
    """Completes with the sampling seed, so that a completion tells its request."""

    def echo(prompt: Prompt) -> Completion:
        return a_completion(a_file(f"completion = {prompt.seed}\n"))

    def complete(parts: Parts) -> CompletedParts:
        for index, prompts in parts:
            yield index, [(completion or echo)(prompt) for prompt in prompts]

    return Engine(name="echo 1", complete=complete)


class Progress(worker.Progress):
    """Keeps what it is told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder=str(folder), pipes=PipesContext.__new__(PipesContext))
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)
