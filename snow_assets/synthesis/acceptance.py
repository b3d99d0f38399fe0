"""Filter completions: each becomes a document, or a refusal with reason and evidence."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.corpus.opt_outs import is_listed
from snow_assets.curation.decontamination.gate import Gate
from snow_assets.curation.decontamination.prefilter import ProblemIndex, hits, index_problems
from snow_assets.curation.decontamination.rule import GATE_METHODS
from snow_assets.curation.dedup.shingles import Shingles, band_hashes, jaccard, shingles
from snow_assets.curation.tokenizer.encoding import count_tokens
from snow_assets.recipe import (
    AcceptanceRecipe,
    ContaminationRecipe,
    NearDuplicatesRecipe,
    SynthesisMode,
)
from snow_assets.storage import shards
from snow_assets.storage.ids import text_id
from snow_assets.storage.schemas.fields import without
from snow_assets.storage.schemas.synthesis import SYNTHETIC_DOCUMENT, SYNTHETIC_REFUSAL
from snow_assets.synthesis.contract import FileExecution, seed_mode
from snow_assets.synthesis.parsing import extract_file, syntax_error
from snow_assets.synthesis.programs import program, runnability
from snow_assets.synthesis.prompts import EXAMPLES

DOCUMENTS, REFUSALS = "documents", "refusals"
_FINISH_REASONS_WITH_TEXT = ("stop", "length")
_EVIDENCE_CHARS = 300


PASSED_TESTS, RAN, NOT_RUNNABLE = "passed_tests", "ran", "not_runnable"
"""Column `execution` of an accepted file: it ran and so did a test of it; it ran and no test did;
the sandbox cannot run it."""

RunPrograms = Callable[[Sequence[str]], Sequence[FileExecution]]


@dataclass(frozen=True, kw_only=True)
class AcceptanceFilters:
    """Thresholds and upstream data that completions are filtered by."""

    recipe: AcceptanceRecipe
    near_duplicates: NearDuplicatesRecipe
    contamination: ContaminationRecipe
    problems: pa.Table
    tokenizer: Tokenizer
    opted_out: frozenset[str] = frozenset()
    """Repositories whose derived files are refused, also if generated before the opt-out."""
    run_programs: RunPrograms | None = None
    """Runs the programs of files in the sandbox, in order; None: no file is run."""


@dataclass(frozen=True, kw_only=True)
class CompletionSource:
    """Artifact with the completions, and the provenance that every accepted file records."""

    folder: str
    prompt_versions: Mapping[SynthesisMode, str]
    model: str
    model_license: str
    model_terms: str


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    seed: Mapping[str, Any]
    engine: str
    text: str  # redacted
    num_redacted: int


@dataclass
class _AcceptedFiles:
    """MinHash index of the accepted files. Memory: about 8 bytes per word, and 100 per band and
    file."""

    recipe: NearDuplicatesRecipe
    texts: dict[str, str] = field(default_factory=dict)  # text id -> name
    _shingles: list[tuple[str, Shingles]] = field(default_factory=list)
    _bands: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def add(self, name: str, text: str) -> None:
        hashes = self.shingles(text)
        self.texts[text_id(text)] = name
        for key in self._keys(hashes):
            self._bands.setdefault(key, []).append(len(self._shingles))
        self._shingles.append((name, hashes))

    def nearest(self, text: str) -> tuple[str, float]:
        """The most similar accepted file and its Jaccard similarity; ("", 0) without candidates."""
        hashes = self.shingles(text)
        candidates = {index for key in self._keys(hashes) for index in self._bands.get(key, ())}
        similarities = [(jaccard(hashes, self._shingles[index][1]), -index) for index in candidates]
        similarity, index = max(similarities, default=(0.0, 0))
        return (self._shingles[-index][0], similarity) if similarities else ("", 0.0)

    def shingles(self, text: str) -> Shingles:
        return shingles(text, words=self.recipe.shingle_words)

    def _keys(self, hashes: Shingles) -> Iterator[tuple[int, int]]:
        if len(hashes):
            bands, rows = self.recipe.bands, self.recipe.rows_per_band
            yield from enumerate(band_hashes(hashes, bands=bands, rows_per_band=rows).tolist())


def accept_completions(
    source: CompletionSource, folder: str, filters: AcceptanceFilters
) -> dict[str, Any]:
    """Filter all completions in order into `documents` and `refusals`; return manifest stats.

    Every request is in exactly one of the two tables. The first of several duplicates is accepted.
    """
    index = index_problems(filters.problems, recipe=filters.contamination)
    gate = Gate.of(filters.problems, window_tokens=filters.contamination.gate_window_tokens)
    accepted = _AcceptedFiles(recipe=filters.near_duplicates)
    for language, _, text in EXAMPLES:
        accepted.add(f"the prompt's {language} example", text)
    counts: Counter[str] = Counter()
    omitted = [] if "rewrite" in source.prompt_versions else ["mode"]
    if filters.run_programs is None:
        omitted.append("execution")
    for shard in range(len(shards.manifest(source.folder).tables("completions"))):
        documents, refusals, redactions, executed = _filter_chunk(
            source, shard, index, gate, accepted, filters
        )
        if not shards.record(folder, shards.table_name(DOCUMENTS, shard)):
            shards.put_table(
                folder, DOCUMENTS, shard, documents, without(SYNTHETIC_DOCUMENT, *omitted)
            )
        if not shards.record(folder, shards.table_name(REFUSALS, shard)):
            shards.put_table(
                folder, REFUSALS, shard, refusals, without(SYNTHETIC_REFUSAL, *omitted)
            )
        counts["num_redactions"] += redactions
        counts.update(f"execution: {outcome}" for outcome in executed)
        counts["num_accepted"] += len(documents)
        counts["num_tokens"] += sum(row["num_tokens"] for row in documents)
        counts.update(f"refused: {row['reason']}" for row in refusals)
    refused, executions = _counts_of(counts, "refused: "), _counts_of(counts, "execution: ")
    num_refused = sum(refused.values())
    return {
        "num_asked": counts["num_accepted"] + num_refused,
        "num_accepted": counts["num_accepted"],
        "num_refused": num_refused,
        "num_tokens": counts["num_tokens"],
        "num_redactions": counts["num_redactions"],
        "refused": refused,
        **({} if filters.run_programs is None else {"executions": executions}),
    }


def _counts_of(counts: Counter[str], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): counts[name]
        for name in sorted(counts)
        if name.startswith(prefix)
    }


def _filter_chunk(
    source: CompletionSource,
    shard: int,
    index: ProblemIndex,
    gate: Gate,
    accepted: _AcceptedFiles,
    filters: AcceptanceFilters,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int, list[str]]:
    """Filter one chunk; return documents, refusals, the number of redactions in documents, and what
    became of each file that got as far as the sandbox."""
    seeds = shards.read_shard(source.folder, shards.table_name("seeds", shard)).to_pylist()
    completions = shards.read_shard(
        source.folder, shards.table_name("completions", shard)
    ).to_pylist()
    documents: list[dict[str, Any]] = []
    refusals: list[dict[str, Any]] = []
    candidates: list[_Candidate] = []
    num_redactions = 0
    for seed, completion in zip(seeds, completions, strict=True):
        if is_listed(seed["seed_repository"], filters.opted_out):
            refusals.append(_refusal_row(seed, "opted_out", None))
            continue
        candidate = _candidate(seed, completion)
        if isinstance(candidate, _Candidate):
            candidates.append(candidate)
        else:
            refusals.append(_refusal_row(seed, *candidate))
    tokens = count_tokens(filters.tokenizer, [candidate.text for candidate in candidates])
    contaminated = _find_contamination(candidates, index, gate)
    refused = {
        candidate.seed["document_id"]: refusal
        for candidate, num_tokens in zip(candidates, tokens, strict=True)
        if (refusal := _own_refusal(candidate, num_tokens, contaminated, accepted, filters.recipe))
    }
    remaining = [each for each in candidates if each.seed["document_id"] not in refused]
    executions: dict[str, str] = {}
    executed: list[str] = []
    if filters.run_programs is not None:
        executions, failures, executed = _execute(remaining, filters.run_programs)
        refused |= failures
    for candidate, num_tokens in zip(candidates, tokens, strict=True):
        name = candidate.seed["document_id"]
        refusal = refused.get(name) or _duplicate_refusal(candidate, accepted, filters.recipe)
        if refusal is None:
            accepted.add(name, candidate.text)
            documents.append(_document_row(source, candidate, num_tokens, executions.get(name)))
            num_redactions += candidate.num_redacted
        else:
            refusals.append(_refusal_row(candidate.seed, *refusal))
    return documents, refusals, num_redactions, executed


def _execute(
    candidates: Sequence[_Candidate], run_programs: RunPrograms
) -> tuple[dict[str, str], dict[str, tuple[str, str]], list[str]]:
    """Run the files that the sandbox can run.

    Returns by document id the `execution` of what may be accepted, and reason and evidence of what
    may not; and an outcome or a reason against running for each file.
    """
    executions: dict[str, str] = {}
    failures: dict[str, tuple[str, str]] = {}
    outcomes: list[str] = []
    runnable: list[_Candidate] = []
    for candidate in candidates:
        can_run = runnability(candidate.text, candidate.seed["language"])
        if can_run == "runnable":
            runnable.append(candidate)
        else:
            executions[candidate.seed["document_id"]] = NOT_RUNNABLE
            outcomes.append(can_run)
    results = run_programs([program(candidate.text) for candidate in runnable]) if runnable else ()
    for candidate, result in zip(runnable, results, strict=True):
        name = candidate.seed["document_id"]
        if result.outcome == "passed":
            executions[name] = PASSED_TESTS if result.num_tests else RAN
        else:
            evidence = result.message.strip()[-_EVIDENCE_CHARS:]
            failures[name] = (f"execution_{result.outcome}", evidence)
        outcomes.append(executions.get(name, result.outcome))
    return executions, failures, outcomes


def _candidate(
    seed: Mapping[str, Any], completion: Mapping[str, Any]
) -> _Candidate | tuple[str, str | None]:
    """Parse and redact a completion; return the candidate, or the refusal's reason and evidence."""
    from snow_assets.curation.redaction.redact import (
        redact,  # compiled, so not imported by definitions
    )

    if seed["document_id"] != completion["document_id"]:
        raise ValueError(
            f"the completion of {completion['document_id']} is in the row of seed "
            f"{seed['document_id']}: materialize synthetic_completions again"
        )
    if completion["finish_reason"] not in _FINISH_REASONS_WITH_TEXT:
        return completion["finish_reason"], completion["evidence"]
    extraction = extract_file(
        completion["completion"],
        language=seed["language"],
        is_whole=completion["finish_reason"] == "stop",
    )
    if extraction.text is None:
        evidence = extraction.evidence or completion["completion"][-_EVIDENCE_CHARS:]
        return str(extraction.reason), evidence
    parse_error = syntax_error(extraction.text, seed["language"])
    if parse_error is not None:
        return "unparsable", parse_error
    redacted = redact(extraction.text)
    return _Candidate(
        seed=seed,
        engine=completion["engine"],
        text=redacted.text,
        num_redacted=redacted.num_emails + redacted.num_keys + redacted.num_passwords,
    )


def _find_contamination(
    candidates: Sequence[_Candidate], index: ProblemIndex, gate: Gate
) -> dict[str, tuple[str, str]]:
    """Document id -> reason and evidence. The seeds were decontaminated, but the teacher may have
    been trained on the benchmarks."""
    contaminated: dict[str, tuple[str, str]] = {}
    texts = [(candidate.seed["document_id"], candidate.text) for candidate in candidates]
    for match in gate.search(texts):
        contaminated[match.document_id] = (
            "leaks",
            f"{match.part} of {match.problem_id}: {match.evidence}",
        )
    for name, text in texts:
        for hit in hits(text, index):
            if hit.method not in GATE_METHODS:  # those are the gate's, searched above
                contaminated[name] = (
                    "contaminated",
                    f"{hit.method} of {hit.problem_id}: {hit.evidence}",
                )
                break
    return contaminated


def _own_refusal(
    candidate: _Candidate,
    num_tokens: int,
    contaminated: Mapping[str, tuple[str, str]],
    accepted: _AcceptedFiles,
    recipe: AcceptanceRecipe,
) -> tuple[str, str] | None:
    """Reason and evidence that do not depend on other completions."""
    name = candidate.seed["document_id"]
    if num_tokens < recipe.min_tokens:
        return "too_short", f"{num_tokens} tokens, and {recipe.min_tokens} are the least"
    if name in contaminated:
        return contaminated[name]
    similarity = jaccard(
        accepted.shingles(candidate.text), accepted.shingles(candidate.seed["snippet"])
    )
    if similarity >= recipe.max_jaccard:
        return "copies_seed", f"Jaccard {similarity:.3f} with the seed"
    return None


def _duplicate_refusal(
    candidate: _Candidate, accepted: _AcceptedFiles, recipe: AcceptanceRecipe
) -> tuple[str, str] | None:
    duplicate_of = accepted.texts.get(text_id(candidate.text))
    if duplicate_of is not None:
        return "exact_duplicate", duplicate_of
    nearest_file, similarity = accepted.nearest(candidate.text)
    if similarity >= recipe.max_jaccard:
        return "near_duplicate", f"Jaccard {similarity:.3f} with {nearest_file}"
    return None


def _refusal_row(seed: Mapping[str, Any], reason: str, evidence: str | None) -> dict[str, Any]:
    return {
        "document_id": seed["document_id"],
        "language": seed["language"],
        "seed_document_id": seed["seed_document_id"],
        "seed_repository": seed["seed_repository"],
        "reason": reason,
        "evidence": None if evidence is None else evidence[:_EVIDENCE_CHARS],
        "mode": seed_mode(seed),
    }


def _document_row(
    source: CompletionSource, candidate: _Candidate, num_tokens: int, execution: str | None
) -> dict[str, Any]:
    return {
        "document_id": candidate.seed["document_id"],
        "text_id": text_id(candidate.text),
        "language": candidate.seed["language"],
        "text": candidate.text,
        "num_tokens": num_tokens,
        "seed_document_id": candidate.seed["seed_document_id"],
        "seed_repository": candidate.seed["seed_repository"],
        "seed_license": candidate.seed["seed_license"],
        "prompt_version": source.prompt_versions[seed_mode(candidate.seed)],
        "engine": candidate.engine,
        "model": source.model,
        "model_license": source.model_license,
        "model_terms": source.model_terms,
        "mode": seed_mode(candidate.seed),
        "execution": execution,
    }
