"""Seeds, sampled by hash: short snippets of selected documents, or whole ones to be rewritten."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow.compute as pc

from snow_assets.curation.kept import kept_documents
from snow_assets.curation.sampling import stable_share
from snow_assets.quality.selection import read_selected
from snow_assets.recipe import SynthesisMode, SynthesisRecipe
from snow_assets.storage import shards
from snow_assets.storage.ids import document_id, text_id
from snow_assets.storage.schemas.fields import without
from snow_assets.storage.schemas.synthesis import SYNTHETIC_SEED
from snow_assets.synthesis.contract import SEEDS

_MIN_LETTERS = 4  # a line with fewer, as a bracket or `else:`, starts no snippet


@dataclass(frozen=True, kw_only=True)
class LanguageSelection:
    """One language's selected documents: ids, their tokens, and the corpus with their texts."""

    language: str
    document_ids: Sequence[str]
    document_tokens: Sequence[int]
    clean_folder: str

    @property
    def num_tokens(self) -> int:
        return sum(self.document_tokens)


def read_selection(subset_folder: str, clean_folder: str) -> LanguageSelection:
    """Read the selected documents of a `high_quality_subset`. Memory: their ids and tokens."""
    selected = read_selected(subset_folder, ["document_id", "num_tokens"])
    return LanguageSelection(
        language=shards.manifest(subset_folder).partition,
        document_ids=selected["document_id"].to_list(),
        document_tokens=selected["num_tokens"].to_list(),
        clean_folder=clean_folder,
    )


def read_selections(
    subset_folders: Sequence[str], clean_folders: Sequence[str]
) -> list[LanguageSelection]:
    """Read each language's selection; both sequences are in the same order."""
    pairs = zip(subset_folders, clean_folders, strict=True)
    return [read_selection(subset, clean) for subset, clean in pairs]


def allocate_requests(
    selected: Sequence[LanguageSelection], *, requests: int, python_fraction: float
) -> dict[str, int]:
    """Allocate requests: Python's share, and the remainder to other languages by selected tokens.

    Rounding remainders go to the languages with the most tokens, then by name, so that the sum is
    exact.
    """
    tokens = {
        selection.language: selection.num_tokens for selection in selected if selection.document_ids
    }
    if not tokens:
        raise ValueError("no language has a selected document to take seeds from")
    if python_fraction > 0 and "python" not in tokens:
        raise ValueError(
            f"python_fraction is {python_fraction} and no Python document is selected: "
            "set it to 0, or add Python to the corpus"
        )
    other_tokens = {name: count for name, count in tokens.items() if name != "python"}
    if "python" not in tokens:
        return _proportional_allocation(other_tokens, requests)
    python_requests = round(requests * python_fraction) if other_tokens else requests
    return {
        "python": python_requests,
        **(
            _proportional_allocation(other_tokens, requests - python_requests)
            if other_tokens
            else {}
        ),
    }


def _proportional_allocation(tokens: Mapping[str, int], requests: int) -> dict[str, int]:
    total = sum(tokens.values())
    shares = {name: requests * count // total for name, count in tokens.items()}
    unallocated = requests - sum(shares.values())
    for name in sorted(tokens, key=lambda name: (-tokens[name], name))[:unallocated]:
        shares[name] += 1
    return shares


def snippet(text: str, *, seed_lines: int, identity: str, seed: int) -> str:
    """1 to `seed_lines` consecutive lines, the first one with enough letters; "" if none has."""
    lines = text.splitlines()
    starts = [
        index for index, line in enumerate(lines) if sum(map(str.isalpha, line)) >= _MIN_LETTERS
    ]
    if not starts:
        return ""
    start = starts[int(stable_share(f"start:{identity}", seed=seed) * len(starts))]
    count = 1 + int(stable_share(f"lines:{identity}", seed=seed) * seed_lines)
    return "\n".join(lines[start : start + count]).rstrip()


def write_seeds(
    folder: str,
    selected: Sequence[LanguageSelection],
    *,
    recipe: SynthesisRecipe,
    prompt_version: str,
) -> list[tuple[str, str]]:
    """Write table `seeds`, a shard per part; return the seed documents (id, text) for the gate.

    Documents are sampled in hash order, repeatedly if there are fewer than requests; those to be
    rewritten in another order, and only documents that fit a completion. Only the training split
    is read. Memory: the seed documents.
    """
    counts = allocate_requests(
        selected, requests=recipe.num_requests, python_fraction=recipe.python_fraction
    )
    rows: list[dict[str, str]] = []
    texts: dict[str, str] = {}
    for selection in sorted(selected, key=lambda selection: selection.language):
        sampled_ids = _sample(selection, counts.get(selection.language, 0), recipe)
        all_ids = [name for names in sampled_ids.values() for name in names]
        documents = {row["document_id"]: row for row in _documents(selection, all_ids)}
        missing_ids = sorted(set(all_ids) - set(documents))
        if missing_ids:
            raise ValueError(
                f"{selection.clean_folder} has no trainable document {missing_ids[0]}, which "
                f"high_quality_subset selected ({len(missing_ids)} such): materialize the subset "
                "again"
            )
        texts.update((name, row["text"]) for name, row in documents.items())
        for mode, document_ids in sampled_ids.items():
            rows += _rows(selection.language, mode, document_ids, documents, recipe, prompt_version)
    schema = SYNTHETIC_SEED if "rewrite" in recipe.modes else without(SYNTHETIC_SEED, "mode")
    part_requests = recipe.part_requests
    for index in range(-(-len(rows) // part_requests)):
        if not shards.record(folder, shards.table_name(SEEDS, index)):
            part = rows[index * part_requests : (index + 1) * part_requests]
            shards.put_table(folder, SEEDS, index, part, schema)
    return sorted(texts.items())


def _sample(
    selection: LanguageSelection, num_requests: int, recipe: SynthesisRecipe
) -> dict[SynthesisMode, list[str]]:
    """The seed documents of a language's requests, by mode."""
    num_rewrites = round(num_requests * recipe.rewrite_fraction)
    sampled: dict[SynthesisMode, list[str]] = {
        "oss_instruct": _sample_documents(
            selection.document_ids, num_requests - num_rewrites, seed=recipe.seed
        )
    }
    if num_rewrites:
        fitting_ids = [
            name
            for name, num_tokens in zip(
                selection.document_ids, selection.document_tokens, strict=True
            )
            if num_tokens <= recipe.max_new_tokens
        ]
        if not fitting_ids:
            raise ValueError(
                f"no selected {selection.language} document has at most "
                f"{recipe.max_new_tokens} tokens (synthesis.max_new_tokens), as a file that is to "
                "be rewritten must: raise it, or set synthesis.rewrite_fraction to 0"
            )
        sampled["rewrite"] = _sample_documents(
            fitting_ids, num_rewrites, seed=recipe.seed, key="rewrite:"
        )
    return sampled


def _sample_documents(
    document_ids: Sequence[str], count: int, *, seed: int, key: str = ""
) -> list[str]:
    ordered = sorted(document_ids, key=lambda name: (stable_share(f"{key}{name}", seed=seed), name))
    return [ordered[index % len(ordered)] for index in range(count)]


def _documents(
    selection: LanguageSelection, document_ids: Sequence[str]
) -> Iterator[dict[str, str]]:
    columns = ("document_id", "repository", "license", "text")
    matching = pl.Series("document_id", document_ids, pl.String).unique().to_frame()
    for batch in kept_documents(selection.clean_folder, columns=columns, matching=matching):
        yield from batch.to_pylist()


def _rows(
    language: str,
    mode: SynthesisMode,
    sampled_ids: Sequence[str],
    documents: Mapping[str, Mapping[str, str]],
    recipe: SynthesisRecipe,
    prompt_version: str,
) -> Iterator[dict[str, str]]:
    config_digest = text_id(json.dumps([prompt_version, recipe.generation], sort_keys=True))
    occurrences: dict[str, int] = {}
    for name in sampled_ids:
        occurrences[name] = occurrences.get(name, 0) + 1
        identity = f"{name}:{occurrences[name]}"
        if mode == "rewrite":
            identity = f"rewrite:{identity}"
            seed_snippet = documents[name]["text"].rstrip()
        else:
            seed_snippet = snippet(
                documents[name]["text"],
                seed_lines=recipe.seed_lines,
                identity=identity,
                seed=recipe.seed,
            )
        if seed_snippet:
            yield {
                "document_id": document_id(
                    "synthetic", documents[name]["repository"], identity, config_digest
                ),
                "language": language,
                "snippet": seed_snippet,
                "seed_document_id": name,
                "seed_repository": documents[name]["repository"],
                "seed_license": documents[name]["license"],
                "mode": mode,
            }


def completion_stats(folder: str) -> dict[str, int]:
    """Counts over all completions of an artifact, of all attempts."""
    columns = ["num_prompt_tokens", "num_completion_tokens"]
    completions = shards.read_unfinished(folder, "completions", columns=columns)
    return {
        "num_parts": len(shards.records(folder, "completions")),
        "num_completions": completions.num_rows,
        **{name: pc.sum(completions[name]).as_py() or 0 for name in columns},
    }
