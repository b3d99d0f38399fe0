"""Seeds: short runs of lines from selected documents, chosen by hash."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.kept import kept_documents
from snow_assets.curation.sampling import stable_share
from snow_assets.documents import SYNTHETIC_SEED, document_id, text_id
from snow_assets.recipe import SynthesisRecipe

TABLE = "seeds"
_MIN_LETTERS = 4  # a line with fewer, a bracket or `else:`, is no place to begin


@dataclass(frozen=True, kw_only=True)
class Selected:
    """One language's selection: the documents with repeats, their raw tokens, and the texts."""

    language: str
    document_ids: Sequence[str]
    num_tokens: int
    clean_folder: str


def read_selected(subset_folder: str, clean_folder: str) -> Selected:
    """What `high_quality_subset` chose of a language. Memory: its ids."""
    columns = ["document_id", "num_tokens", "repeats"]
    table = shards.read(subset_folder, "documents", columns=columns)
    chosen = table.filter(pc.greater(table["repeats"], 0))
    return Selected(
        language=shards.manifest(subset_folder).partition,
        document_ids=chosen["document_id"].to_pylist(),
        num_tokens=pc.sum(chosen["num_tokens"]).as_py() or 0,
        clean_folder=clean_folder,
    )


def selections(subset_folders: Sequence[str], clean_folders: Sequence[str]) -> list[Selected]:
    """The selected documents of each language; both sequences are in the same order."""
    pairs = zip(subset_folders, clean_folders, strict=True)
    return [read_selected(subset, clean) for subset, clean in pairs]


def requests_by_language(
    selected: Sequence[Selected], *, requests: int, python_share: float
) -> dict[str, int]:
    """Python's share, and the rest among the other languages by their selected tokens.

    Remainders go to the largest, then by name, so that the sum is exact.
    """
    tokens = {one.language: one.num_tokens for one in selected if one.document_ids}
    if not tokens:
        raise ValueError("no language has a selected document to take seeds from")
    if python_share > 0 and "python" not in tokens:
        raise ValueError(
            f"python_share is {python_share} and no Python document is selected: "
            "set it to 0, or add Python to the corpus"
        )
    others = {name: count for name, count in tokens.items() if name != "python"}
    if "python" not in tokens:
        return _shares(others, requests)
    python = round(requests * python_share) if others else requests
    return {"python": python, **(_shares(others, requests - python) if others else {})}


def _shares(tokens: Mapping[str, int], requests: int) -> dict[str, int]:
    total = sum(tokens.values())
    shares = {name: requests * count // total for name, count in tokens.items()}
    rest = requests - sum(shares.values())
    for name in sorted(tokens, key=lambda name: (-tokens[name], name))[:rest]:
        shares[name] += 1
    return shares


def snippet(text: str, *, seed_lines: int, identity: str, seed: int) -> str:
    """1 to `seed_lines` consecutive lines that begin with one that says something; "" if none."""
    lines = text.splitlines()
    starts = [
        index for index, line in enumerate(lines) if sum(map(str.isalpha, line)) >= _MIN_LETTERS
    ]
    if not starts:
        return ""
    start = starts[int(stable_share(f"start:{identity}", seed=seed) * len(starts))]
    count = 1 + int(stable_share(f"lines:{identity}", seed=seed) * seed_lines)
    return "\n".join(lines[start : start + count]).rstrip()


def put_seeds(
    folder: str, selected: Sequence[Selected], *, recipe: SynthesisRecipe, prompt_version: str
) -> list[tuple[str, str]]:
    """Write table `seeds`, a shard per chunk; return the seed documents (id, text) for the gate.

    Documents are taken in the order of a hash, again from the first when they run out. Only the
    training split is read. Memory: the seed documents.
    """
    counts = requests_by_language(
        selected, requests=recipe.requests, python_share=recipe.python_share
    )
    rows: list[dict[str, str]] = []
    texts: dict[str, str] = {}
    for one in sorted(selected, key=lambda one: one.language):
        asked = _draws(one.document_ids, counts.get(one.language, 0), seed=recipe.seed)
        documents = {row["document_id"]: row for row in _documents(one, set(asked))}
        lost = sorted(set(asked) - set(documents))
        if lost:
            raise ValueError(
                f"{one.clean_folder} has no trainable document {lost[0]}, which "
                f"high_quality_subset selected ({len(lost)} such): materialize the subset again"
            )
        texts.update((name, row["text"]) for name, row in documents.items())
        rows += _rows(one.language, asked, documents, recipe, prompt_version)
    for index in range(-(-len(rows) // recipe.chunk_requests)):
        if not shards.record(folder, shards.table_name(TABLE, index)):
            start = index * recipe.chunk_requests
            chunk = rows[start : start + recipe.chunk_requests]
            shards.put_table(folder, TABLE, index, chunk, SYNTHETIC_SEED)
    return sorted(texts.items())


def _draws(document_ids: Sequence[str], count: int, *, seed: int) -> list[str]:
    ordered = sorted(document_ids, key=lambda name: (stable_share(name, seed=seed), name))
    return [ordered[index % len(ordered)] for index in range(count)]


def _documents(selected: Selected, wanted: set[str]) -> Iterator[dict[str, str]]:
    columns = ("document_id", "repository", "license", "text")
    names = pa.array(sorted(wanted), pa.string())
    for batch in kept_documents(selected.clean_folder, split="train", columns=columns):
        yield from batch.filter(pc.is_in(batch["document_id"], value_set=names)).to_pylist()


def _rows(
    language: str,
    asked: Sequence[str],
    documents: Mapping[str, Mapping[str, str]],
    recipe: SynthesisRecipe,
    prompt_version: str,
) -> Iterator[dict[str, str]]:
    settings = text_id(json.dumps([prompt_version, asdict(recipe)], sort_keys=True))
    times: dict[str, int] = {}
    for name in asked:
        times[name] = times.get(name, 0) + 1
        identity = f"{name}:{times[name]}"
        found = snippet(
            documents[name]["text"],
            seed_lines=recipe.seed_lines,
            identity=identity,
            seed=recipe.seed,
        )
        if found:
            yield {
                "document_id": document_id(
                    "synthetic", documents[name]["repository"], identity, settings
                ),
                "language": language,
                "snippet": found,
                "seed_document_id": name,
                "seed_repository": documents[name]["repository"],
                "seed_license": documents[name]["license"],
            }


def answer_facts(folder: str) -> dict[str, int]:
    """Counts over all answers, whichever attempt wrote them."""
    names = [entry.name for entry in shards.records(folder) if entry.name.startswith("answers-")]
    columns = ["num_prompt_tokens", "num_answer_tokens"]
    tables = [shards.read_shard(folder, name, columns=columns) for name in names]
    return {
        "num_chunks": len(tables),
        "num_answers": sum(table.num_rows for table in tables),
        "num_prompt_tokens": sum(pc.sum(table[columns[0]]).as_py() or 0 for table in tables),
        "num_answer_tokens": sum(pc.sum(table[columns[1]]).as_py() or 0 for table in tables),
    }
