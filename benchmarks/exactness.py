"""What each side of `bench.py` got right, against what is computed plainly.

That is all pairs by exact Jaccard (`exact_join.py`), the filters in plain Python, quotations by
comparing everything with everything, and transformers' fp32 forward.
"""

import json
import time
from collections import Counter
from pathlib import Path

import exact_join
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from agreement import agreement
from tokenizers import Tokenizer

from snow_assets.corpus.problems import read_problems
from snow_assets.curation.decontamination.gate import gate_hits
from snow_assets.curation.decontamination.rule import GATE_METHODS
from snow_assets.curation.dedup.text_keys import text_keys
from snow_assets.curation.tokenizer.tokens import END_OF_TEXT
from snow_assets.pretraining.sequences import TOKENS, read_tokens, token_dtype
from snow_assets.recipe import ARCTIC
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from tests.curation.reference.quotations import Wanted, quotations

CURATION = ARCTIC.curation


def kept(out: Path) -> set[str]:
    """The ids that a side kept."""
    files = sorted(out.rglob("*.parquet"))
    names = [path for path in files if "kept" in str(path.relative_to(out)) or path.parent == out]
    found: set[str] = set()
    for path in names:
        table = pq.read_table(path)
        found.update(table["id" if "id" in table.column_names else "document_id"].to_pylist())
    return found


def exactness(stage: str, outs: dict[str, Path], folder: Path) -> dict[str, str]:
    """What each side of a stage got right."""
    if stage == "filters":
        reference = kept(outs["datatrove"])
        return {
            side: f"{len(kept(out) ^ reference)} of {len(reference)} kept differ"
            for side, out in outs.items()
        }
    if stage == "near":
        return _near_exactness(outs)
    if stage == "contamination":
        return _contamination_exactness(outs, folder)
    if stage == "tokenize":
        return _token_exactness(outs, folder)
    if stage == "redaction":
        return {side: _recall(out, folder) for side, out in outs.items()}
    if stage == "scoring":
        plain = np.load(outs["transformers"] / "vectors.npy")
        sizes = np.load(outs["transformers"] / "sizes.npy")
        # sentence-transformers' vectors are of length one, and so give other scores.
        return {"snow": agreement(np.load(outs["snow"] / "vectors.npy"), plain, sizes)}
    if stage == "exact":
        told = {side: f"{len(kept(out))} kept" for side, out in outs.items()}
        told["snow"] += f"; fused, from the ids that documents have: {_fused(folder):.2f} CPU s"
        return told
    return {}


def _recall(out: Path, folder: Path) -> str:
    planted = pa.concat_tables(
        pq.read_table(path) for path in sorted((folder / "secrets").glob("*"))
    )
    files = sorted(path for path in out.glob("*.parquet"))
    after = pa.concat_tables(pq.read_table(path, columns=["text"]) for path in files)
    pairs = [
        (secret, text)
        for secret, text in zip(
            planted["secret"].to_pylist(), after["text"].to_pylist(), strict=True
        )
        if secret
    ]
    gone = sum(secret not in text for secret, text in pairs)
    return f"{gone} of {len(pairs)} planted secrets gone"


def _fused(folder: Path) -> float:
    """CPU seconds of telling exact copies where documents carry their text's hash already."""
    documents = sorted((folder / "documents" / "bench" / "g").glob("documents-*.parquet"))
    columns = [pq.read_table(path, columns=["text_id"])["text_id"] for path in documents]
    started = time.process_time()
    np.unique(np.concatenate([text_keys(column) for column in columns]), return_index=True)
    return time.process_time() - started


def _contamination_exactness(outs: dict[str, Path], folder: Path) -> dict[str, str]:
    """What brute force finds in every tenth document, and in all that a side removed."""
    made = str(outs["snow"] / "contamination" / "bench" / "g")
    documents = folder / "quoting_documents" / "bench" / "g"
    hits: dict[str, set[str]] = {}
    leaking: set[str] = set()
    for name in [one.name for one in shards.records(made) if one.name.startswith("hits-")]:
        for row in shards.read_shard(made, name, columns=["document_id", "method"]).to_pylist():
            if row["method"] in GATE_METHODS:
                leaking.add(row["document_id"])
            else:
                hits.setdefault(row["document_id"], set()).add(row["method"])
    given = set(_ids(folder / "quoting"))
    removed = {side: given - kept(out) for side, out in outs.items() if side != "snow"}
    problems = json.loads((folder / "problems.json").read_text())
    wanted = Wanted.of(problems, CURATION.contamination)
    window = CURATION.contamination.gate_window_tokens
    table_of_problems = pa.Table.from_pylist(read_problems(["HumanEval"]), schema=BENCHMARK_PROBLEM)
    differing = looked = leaks_differing = 0
    for entry in shards.manifest(str(documents)).tables("documents"):
        table = shards.read_shard(str(documents), entry.name, columns=["document_id", "text"])
        for number, (name, text) in enumerate(zip(*table.to_pydict().values(), strict=True)):
            if number % 10 == 0 or name in leaking:
                refused = gate_hits([(name, text)], table_of_problems, window_tokens=window)
                leaks_differing += bool(refused) != (name in leaking)
            if number % 10 == 0 or name in hits or any(name in gone for gone in removed.values()):
                found = quotations(text, wanted)
                differing += found != hits.get(name, set())
                looked += 1
    ngrams = {name for name, methods in hits.items() if "ngram" in methods}
    told = {
        "snow": f"{differing} of {looked:,} documents differ from brute force; {len(hits)} quote"
        f" a problem, {len(ngrams)} of them by a 12-gram; {len(leaking)} hold one as the gate does,"
        f" which differs in {leaks_differing}"
    }
    for side, gone in removed.items():
        told[side] = f"removes {len(gone)}, of our 12-grams' {len(gone & ngrams)}"
    return told


def _ids(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.parquet"))
    return [name for path in files for name in pq.read_table(path)["id"].to_pylist()]


def _token_exactness(outs: dict[str, Path], folder: Path) -> dict[str, str]:
    """Whether each document that ends within the packs is of the ids that tokenizers finds."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    end = tokenizer.token_to_id(END_OF_TEXT)
    texts = [
        text
        for path in sorted((folder / "some_texts").glob("*.parquet"))
        for text in pq.read_table(path)["text"].to_pylist()
    ]
    plain = Counter(
        np.array([*one.ids, end], dtype=token_dtype(tokenizer.get_vocab_size())).tobytes()
        for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    )
    packs = str(outs["snow"] / "general_packs" / "all" / "g")
    entries = shards.records(packs, TOKENS)
    tokens = np.concatenate([read_tokens(packs, entry).ravel() for entry in entries])
    ends = np.flatnonzero(tokens == end)
    packed = Counter(part.tobytes() for part in np.split(tokens[: ends[-1] + 1], ends[:-1] + 1))
    other = sum((packed - plain).values())
    return {"snow": f"{other} of {sum(packed.values()):,} documents have other ids"}


def _near_exactness(outs: dict[str, Path]) -> dict[str, str]:
    """Precision and recall by texts that passed the filters, each text once."""
    made = outs["snow"]
    signed, verified, copies = (
        str(made / name / where / "g")
        for name, where in (
            ("signatures", "bench"),
            ("verified_pairs", "all"),
            ("near_duplicates", "all"),
        )
    )
    clusters = shards.read(copies, "clusters")
    ids = dict(
        zip(clusters["document_id"].to_pylist(), clusters["text_id"].to_pylist(), strict=True)
    )
    names, values, counts = [], [], []
    for entry in shards.manifest(signed).tables("signatures"):
        shingled = entry.name.replace("signatures-", "shingles-")
        table = shards.read_shard(signed, entry.name, columns=["text_id", "num_shingles"])
        names += table["text_id"].to_pylist()
        counts.append(table["num_shingles"].to_numpy())
        stored = shards.read_shard(signed, shingled)["shingles"].to_pylist()
        values.append(np.frombuffer(b"".join(stored), dtype=np.uint32))
    reached = set(ids.values())
    pairs = exact_join.exact_pairs(
        np.concatenate(values), np.concatenate(counts), CURATION.near_duplicates.min_jaccard
    )
    true = {(names[a], names[b]) for a, b in pairs if names[a] in reached and names[b] in reached}
    true = {tuple(sorted(pair)) for pair in true}
    found = shards.read(verified, "pairs")
    own = {
        tuple(sorted(pair))
        for pair in zip(
            found["text_id"].to_pylist(), found["other_text_id"].to_pylist(), strict=True
        )
    }
    partnered = {name for pair in true for name in pair}
    right = len(own & true)
    precision, recall = right / len(own), right / len(true)
    told = {"snow": f"pairs: precision {precision:.4f}, recall {recall:.4f} of {len(true):,}"}
    for side, out in outs.items():
        if side == "snow":
            continue
        left = kept(out)
        texts = {ids[name] for name in left if name in ids}
        gone = reached - texts
        wrong = len(gone - partnered) / max(1, len(gone))
        missed = sum(a in texts and b in texts for a, b in true) / len(true)
        told[side] = (
            f"of {len(gone):,} removed texts {wrong:.1%} have no near duplicate; "
            f"of {missed:.1%} of the true pairs both texts stay"
        )
    return told
