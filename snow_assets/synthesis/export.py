"""Export the accepted synthetic files as a data set folder, with a card that says how they came."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import polars as pl
import pyarrow as pa

from snow_assets import markdown
from snow_assets.curation.export import (
    SOURCE_COLUMNS,
    export_dataset,
    repository_notices,
)
from snow_assets.recipe import SynthesisMode
from snow_assets.storage import shards
from snow_assets.storage.schemas.synthesis import SYNTHETIC_DOCUMENT
from snow_assets.synthesis.acceptance import DOCUMENTS
from snow_assets.synthesis.asset_metadata import yield_table
from snow_assets.synthesis.prompts import messages, prompt_version

_DECODING = ("temperature", "top_p", "max_new_tokens", "max_model_len", "quantization", "seed")
_UNKNOWN = "unknown"  # revision of a seed whose clean corpus is no longer in the lake


def export_synthetic(set_folder: str, folder: str) -> dict[str, Any]:
    """Export a `synthetic_set` artifact.

    The card and the attribution follow from its manifest and those that it was made from. Memory:
    the ids of the seeds, and a shard's columns.
    """
    (completions_folder,) = shards.input_folders(set_folder, "synthetic_completions")
    clean_folders = [
        clean
        for clean in shards.input_folders(completions_folder, "clean_corpus")
        if shards.is_finished(clean)
    ]
    sources = _seed_sources(set_folder, clean_folders)
    return export_dataset(
        folder,
        title="Synthetic code files",
        description=(
            "Source files that a language model wrote. Each was inspired by a snippet of a real "
            "file (`mode` oss_instruct), or is a real file rewritten (rewrite). `seed_repository` "
            "and `seed_license` name that file's repository and licence, which `ATTRIBUTION.md` "
            "lists; `model_license` and `model_terms` are the model's."
        ),
        splits={"train": _documents(set_folder)},
        sources=sources,
        notices=repository_notices(sources["repository"], *clean_folders),
        sections=_sections(set_folder, completions_folder),
    )


def _documents(set_folder: str) -> Iterator[pa.RecordBatch]:
    """Accepted files with all columns, null where the set has none."""
    for batch in shards.batches(set_folder, DOCUMENTS):
        if "mode" not in batch.schema.names:
            modes = pa.repeat(pa.scalar("oss_instruct"), batch.num_rows)
            batch = batch.append_column("mode", modes)
        if "execution" not in batch.schema.names:
            batch = batch.append_column("execution", pa.nulls(batch.num_rows, pa.string()))
        yield batch.select(SYNTHETIC_DOCUMENT.names)


def _seed_sources(set_folder: str, clean_folders: Sequence[str]) -> pl.DataFrame:
    """Repository, revision and licence of each accepted file's seed."""
    columns = ["seed_document_id", "seed_repository", "seed_license"]
    seeds = pl.DataFrame(shards.read(set_folder, DOCUMENTS, columns=columns)).rename(
        {
            "seed_document_id": "document_id",
            "seed_repository": "repository",
            "seed_license": "license",
        }
    )
    revisions = [
        pl.DataFrame(table).join(seeds, on="document_id", how="semi")
        for clean in clean_folders
        for table in shards.read_shards(
            clean, shards.manifest(clean).tables("decisions"), columns=["document_id", "revision"]
        )
    ]
    empty = pl.DataFrame(schema={"document_id": pl.String, "revision": pl.String})
    return seeds.join(
        pl.concat([empty, *revisions]).unique("document_id"), on="document_id", how="left"
    ).select(
        *(
            pl.col(name).fill_null(_UNKNOWN) if name == "revision" else name
            for name in SOURCE_COLUMNS
        )
    )


def _sections(set_folder: str, completions_folder: str) -> str:
    accepted, completions = shards.manifest(set_folder), shards.manifest(completions_folder)
    return "\n".join(
        [
            "",
            *_teacher_lines(accepted.config, completions.config["synthesis"], completions_folder),
            *_prompt_lines(completions.config),
            *_count_lines(set_folder, accepted.stats),
            *_acceptance_lines(accepted.config),
            "",
        ]
    )


def _teacher_lines(
    terms: Mapping[str, Any], generation: Mapping[str, Any], completions_folder: str
) -> list[str]:
    values = {"model": generation["model"], "engine": generation["engine"]}
    for folder in shards.input_folders(completions_folder, "teacher_model"):
        if shards.is_finished(folder) and "sha256" in (stats := shards.manifest(folder).stats):
            values["sha256 of the weights"] = stats["sha256"]
    values |= {
        "licence": terms["model_license"],
        "terms for completions": terms["model_terms"],
        "training on completions": terms["training_terms"],
    }
    if terms["training_permission"] is not None:
        values["permission for training"] = terms["training_permission"]
    values |= {name: generation[name] for name in _DECODING}
    return ["## Teacher and decoding", "", *_table(("", ""), values.items())]


def _prompt_lines(config: Mapping[str, Any]) -> list[str]:
    """The prompts, without their examples, if this code has the version that was used."""
    generation = config["synthesis"]
    lines = ["", "## Prompt", "", f"Version {config['prompt_version']}"]
    if config["prompt_version"] not in _known_versions():
        return [f"{lines[-1]}, which the code that wrote this card no longer has."]
    lines[-1] += "; examples of the task stand between these messages. `...` is the seed's text."
    rewrite_fraction = generation.get("rewrite_fraction", 0)
    shares: dict[SynthesisMode, float] = {
        "oss_instruct": 1 - rewrite_fraction,
        "rewrite": rewrite_fraction,
    }
    for mode, share in shares.items():
        if share > 0:
            system, *_, request = messages(
                "python", "...", max_new_tokens=generation["max_new_tokens"], mode=mode
            )
            lines += ["", f"`{mode}`, {share:.0%} of the requests:", ""]
            lines += ["```text", system["content"], "```", "", "```text", request["content"], "```"]
    return lines


def _known_versions() -> set[str]:
    modes: tuple[SynthesisMode, ...] = get_args(SynthesisMode)
    return {prompt_version(modes), *(prompt_version((mode,)) for mode in modes)}


def _count_lines(set_folder: str, stats: Mapping[str, Any]) -> list[str]:
    lines = [
        "",
        "## Requests by language and outcome",
        "",
        f"{stats['num_asked']} requests, {stats['num_accepted']} accepted files with "
        f"{stats['num_tokens']} tokens; {stats['num_redactions']} secrets and addresses redacted.",
        "",
        yield_table(set_folder),
    ]
    if "executions" in stats:
        lines += ["", "Execution in the sandbox:", ""]
        lines += _table(("outcome", "files"), stats["executions"].items())
    return lines


def _acceptance_lines(config: Mapping[str, Any]) -> list[str]:
    return [
        "",
        "## Acceptance and decontamination",
        "",
        "A file parses, holds no problem of the benchmarks (n-grams, substrings, and the "
        "independent gate, which sees renamed identifiers), and resembles neither its seed nor "
        "another file. Seeds hold no problem either, and come from the training split of files "
        "under permissive licences.",
        "",
        *_table(
            ("", ""),
            [
                (f"{section}.{name}", value)
                for section in ("acceptance", "near_duplicates", "contamination")
                for name, value in config[section].items()
            ],
        ),
    ]


def _table(header: tuple[str, str], rows: Any) -> list[str]:
    lines = [f"| {header[0]} | {header[1]} |", "| --- | --- |"]
    return [*lines, *(f"| {name} | {_shown(value)} |" for name, value in rows)]


def _shown(value: Any) -> str:
    return markdown.cell(value if isinstance(value, str) else json.dumps(value))
