"""Which answers become documents: each is accepted, or refused with reason and evidence."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets import shards
from snow_assets.corpus.opt_outs import is_listed
from snow_assets.curation.contamination import ProblemIndex, hits, index_problems
from snow_assets.curation.contamination_gate import gate_hits
from snow_assets.curation.contamination_rule import GATE_METHODS
from snow_assets.curation.shingles import Shingles, band_hashes, jaccard, shingles
from snow_assets.curation.tokens import count_tokens
from snow_assets.documents import SYNTHETIC_DOCUMENT, SYNTHETIC_REFUSAL, text_id
from snow_assets.recipe import AcceptanceRecipe, ContaminationRecipe, NearDuplicatesRecipe
from snow_assets.synthesis.parsing import extract_file, fault
from snow_assets.synthesis.prompts import EXAMPLES

DOCUMENTS, REFUSALS = "documents", "refusals"
_WRITTEN = ("stop", "length")
_EVIDENCE_CHARS = 300


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What an answer is held against; from the recipe and upstream."""

    recipe: AcceptanceRecipe
    near_duplicates: NearDuplicatesRecipe
    contamination: ContaminationRecipe
    problems: pa.Table
    tokenizer: Tokenizer
    opted_out: frozenset[str] = frozenset()
    """Repositories whose children are refused, also of answers given before they opted out."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Where the answers are, and what every accepted file keeps of how it was made."""

    folder: str
    prompt_version: str
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
class _Accepted:
    """The files accepted so far, by shingles. Memory: about 8 bytes per word of them, and 100 per
    band and file."""

    rules: NearDuplicatesRecipe
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
        """The most alike accepted file and the Jaccard index with it; ("", 0) if none is near."""
        hashes = self.shingles(text)
        near = {index for key in self._keys(hashes) for index in self._bands.get(key, ())}
        found = [(jaccard(hashes, self._shingles[index][1]), -index) for index in near]
        share, index = max(found, default=(0.0, 0))
        return (self._shingles[-index][0], share) if found else ("", 0.0)

    def shingles(self, text: str) -> Shingles:
        return shingles(text, words=self.rules.shingle_words)

    def _keys(self, hashes: Shingles) -> Iterator[tuple[int, int]]:
        if len(hashes):
            bands, rows = self.rules.bands, self.rules.rows_per_band
            yield from enumerate(band_hashes(hashes, bands=bands, rows_per_band=rows).tolist())


def accept(asked: Asked, folder: str, rules: Rules) -> dict[str, Any]:
    """Judge all answers in the order of asking into `documents` and `refusals`; return the facts.

    Every request is in exactly one of the two. Of copies the first stays.
    """
    index = index_problems(rules.problems, recipe=rules.contamination)
    accepted = _Accepted(rules=rules.near_duplicates)
    for language, _, text in EXAMPLES:
        accepted.add(f"the prompt's {language} example", text)
    counts: Counter[str] = Counter()
    for shard in range(len(shards.manifest(asked.folder).tables("answers"))):
        documents, refusals, redactions = _judge(asked, shard, index, accepted, rules)
        if not shards.record(folder, shards.table_name(DOCUMENTS, shard)):
            shards.put_table(folder, DOCUMENTS, shard, documents, SYNTHETIC_DOCUMENT)
        if not shards.record(folder, shards.table_name(REFUSALS, shard)):
            shards.put_table(folder, REFUSALS, shard, refusals, SYNTHETIC_REFUSAL)
        counts["num_redactions"] += redactions
        counts["num_accepted"] += len(documents)
        counts["num_tokens"] += sum(row["num_tokens"] for row in documents)
        counts.update(f"refused: {row['reason']}" for row in refusals)
    num_refused = sum(count for name, count in counts.items() if name.startswith("refused: "))
    return {
        "num_asked": counts["num_accepted"] + num_refused,
        "num_accepted": counts["num_accepted"],
        "num_refused": num_refused,
        "num_tokens": counts["num_tokens"],
        "num_redactions": counts["num_redactions"],
        "refused": {
            name.removeprefix("refused: "): counts[name]
            for name in sorted(counts)
            if name.startswith("refused: ")
        },
    }


def _judge(
    asked: Asked, shard: int, index: ProblemIndex, accepted: _Accepted, rules: Rules
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """One chunk: documents, refusals, and redactions in the documents."""
    seeds = shards.read_shard(asked.folder, shards.table_name("seeds", shard)).to_pylist()
    answers = shards.read_shard(asked.folder, shards.table_name("answers", shard)).to_pylist()
    documents: list[dict[str, Any]] = []
    refusals: list[dict[str, Any]] = []
    candidates: list[_Candidate] = []
    num_redactions = 0
    for seed, answer in zip(seeds, answers, strict=True):
        if is_listed(seed["seed_repository"], rules.opted_out):
            refusals.append(_refusal(seed, "opted_out", None))
            continue
        made = _candidate(seed, answer)
        if isinstance(made, _Candidate):
            candidates.append(made)
        else:
            refusals.append(_refusal(seed, *made))
    tokens = count_tokens(rules.tokenizer, [made.text for made in candidates])
    leaked = _leaked(candidates, index, rules)
    for made, num_tokens in zip(candidates, tokens, strict=True):
        reason = _refused(made, num_tokens, leaked, accepted, rules.recipe)
        if reason is None:
            accepted.add(made.seed["document_id"], made.text)
            documents.append(_document(asked, made, num_tokens))
            num_redactions += made.num_redacted
        else:
            refusals.append(_refusal(made.seed, *reason))
    return documents, refusals, num_redactions


def _candidate(
    seed: Mapping[str, Any], answer: Mapping[str, Any]
) -> _Candidate | tuple[str, str | None]:
    """A file of its language without secrets, or the reason and evidence against it."""
    from snow_assets.curation.redaction import redact  # compiled: not with the definitions

    if seed["document_id"] != answer["document_id"]:
        raise ValueError(
            f"the answer to {answer['document_id']} stands where {seed['document_id']} was asked: "
            "materialize synthetic_answers again"
        )
    if answer["stop_reason"] not in _WRITTEN:
        return answer["stop_reason"], answer["evidence"]
    extraction = extract_file(
        answer["answer"], language=seed["language"], is_whole=answer["stop_reason"] == "stop"
    )
    if extraction.text is None:
        evidence = extraction.evidence or answer["answer"][-_EVIDENCE_CHARS:]
        return str(extraction.reason), evidence
    parse_error = fault(extraction.text, seed["language"])
    if parse_error is not None:
        return "unparsable", parse_error
    clean = redact(extraction.text)
    return _Candidate(
        seed=seed,
        engine=answer["engine"],
        text=clean.text,
        num_redacted=clean.num_emails + clean.num_keys + clean.num_passwords,
    )


def _leaked(
    candidates: Sequence[_Candidate], index: ProblemIndex, rules: Rules
) -> dict[str, tuple[str, str]]:
    """Document id -> reason and evidence. Looked at again although the seeds were clean: the
    teacher has read the benchmarks too."""
    found: dict[str, tuple[str, str]] = {}
    texts = [(made.seed["document_id"], made.text) for made in candidates]
    window = rules.contamination.gate_window_tokens
    for leak in gate_hits(texts, rules.problems, window_tokens=window):
        found[leak.document_id] = ("leaks", f"{leak.part} of {leak.problem_id}: {leak.evidence}")
    for name, text in texts:
        for hit in hits(text, index):
            if hit.method not in GATE_METHODS:  # those are the gate's own, found above
                found[name] = ("contaminated", f"{hit.method} of {hit.problem_id}: {hit.evidence}")
                break
    return found


def _refused(
    made: _Candidate,
    num_tokens: int,
    leaked: Mapping[str, tuple[str, str]],
    accepted: _Accepted,
    recipe: AcceptanceRecipe,
) -> tuple[str, str] | None:
    name = made.seed["document_id"]
    if num_tokens < recipe.min_tokens:
        return "too_short", f"{num_tokens} tokens, and {recipe.min_tokens} are the least"
    if name in leaked:
        return leaked[name]
    share = jaccard(accepted.shingles(made.text), accepted.shingles(made.seed["snippet"]))
    if share >= recipe.max_jaccard:
        return "copies_seed", f"Jaccard {share:.3f} with the seed"
    copy = accepted.texts.get(text_id(made.text))
    if copy is not None:
        return "exact_duplicate", copy
    other, share = accepted.nearest(made.text)
    if share >= recipe.max_jaccard:
        return "near_duplicate", f"Jaccard {share:.3f} with {other}"
    return None


def _refusal(seed: Mapping[str, Any], reason: str, evidence: str | None) -> dict[str, Any]:
    return {
        "document_id": seed["document_id"],
        "language": seed["language"],
        "seed_document_id": seed["seed_document_id"],
        "seed_repository": seed["seed_repository"],
        "reason": reason,
        "evidence": None if evidence is None else evidence[:_EVIDENCE_CHARS],
    }


def _document(asked: Asked, made: _Candidate, num_tokens: int) -> dict[str, Any]:
    return {
        "document_id": made.seed["document_id"],
        "text_id": text_id(made.text),
        "language": made.seed["language"],
        "text": made.text,
        "num_tokens": num_tokens,
        "seed_document_id": made.seed["seed_document_id"],
        "seed_repository": made.seed["seed_repository"],
        "seed_license": made.seed["seed_license"],
        "prompt_version": asked.prompt_version,
        "engine": made.engine,
        "model": asked.model,
        "model_license": asked.model_license,
        "model_terms": asked.model_terms,
    }
