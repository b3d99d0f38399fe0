"""GPU job: the kept train documents of a language to scores, a part at a time.

Killed at any moment it loses at most the part in progress. Texts that an earlier generation has
scored under the same annotator are not read by the encoder again.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from snow_assets import shards, worker
from snow_assets.quality import encoder as encoders
from snow_assets.quality import scores
from snow_assets.quality.contract import Annotator, Scoring, ScoringReport
from snow_assets.quality.encoder import Encoder
from snow_assets.quality.gate import refuse_failed_gate
from snow_assets.quality.head import Vectors, read_head, text_logit, text_logits
from snow_assets.quality.windows import Tokens
from snow_assets.remaining import Remaining

T = TypeVar("T")


@dataclass(frozen=True)
class _Part:
    """A part of the work, read: the windows of its texts that have no score yet."""

    index: int
    wanted: Sequence[str]
    windows: dict[str, list[Tokens]]


def work(request: Scoring, progress: worker.Progress) -> ScoringReport:
    annotator = refuse_failed_gate(request.annotator)
    head = read_head(request.annotator)
    encoder = load_encoder(
        annotator, batch_tokens=request.batch_tokens, threads=request.num_threads
    )
    wanted = scores.text_ids(request.clean)
    known = scores.Known.of(request.earlier, annotator=annotator.version, wanted=set(wanted))
    progress.log(f"{len(wanted)} texts, of which {len(known.rows)} have a score already")
    all_parts = scores.parts(wanted, request.part_texts)

    def read() -> Iterator[_Part]:
        texts = scores.texts(request.clean)
        for index, part in enumerate(all_parts):
            content = dict(islice(texts, len(part)))
            name = shards.table_name(scores.TABLE, index)
            if progress.owns(index) and shards.record(request.output, name) is None:
                new = [name for name in content if name not in known.rows]
                windows = encoder.windows([content[name] for name in new])
                yield _Part(index, part, dict(zip(new, windows, strict=True)))

    def scored() -> Iterator[tuple[_Part, list[Vectors], float]]:
        for part in _ahead(read()):
            started = time.monotonic()
            logits = text_logits(list(part.windows.values()), encoder, head)
            yield part, logits, time.monotonic() - started

    remaining = Remaining(len(all_parts), "parts scored")
    for part, logits, seconds in _ahead(scored()):
        fresh = {
            name: _row(name, found, annotator.version)
            for name, found in zip(part.windows, logits, strict=True)
        }
        scores.put_part(request.output, part.index, part.wanted, known, fresh)
        progress.log(f"{remaining.advance()}; {len(fresh)} texts in the last")
        progress.metrics(part.index, num_scored=len(fresh), seconds=seconds)
    return scores.report(request.output, annotator=annotator.version)


def _ahead(parts: Iterator[T]) -> Iterator[T]:
    """The parts, each next one made while the last one is used: so one is read and tokenized (by
    the tokenizer's own threads) while the encoder has another, and a third one is written."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = pool.submit(next, parts, None)
            yield part


def load_encoder(annotator: Annotator, *, batch_tokens: int, threads: int) -> Encoder:
    """The encoder that an annotator was trained on; ValueError if other weights lie there now."""
    encoder = encoders.load(
        annotator.encoder,
        pooling=annotator.pooling,
        window_tokens=annotator.window_tokens,
        precision=annotator.precision,
        batch_tokens=batch_tokens,
        threads=threads,
    )
    if (encoder.digest, encoder.tokenizer_digest) != (
        annotator.encoder_digest,
        annotator.tokenizer_digest,
    ):
        raise ValueError(
            f"{annotator.encoder} is not the encoder that annotator {annotator.version[:12]} was "
            f"trained on (weights {encoder.digest[:12]}, not {annotator.encoder_digest[:12]}): "
            "put that one back, or materialize quality_annotator again"
        )
    return encoder


def _row(name: str, found: Vectors, version: str) -> dict[str, Any]:
    return {
        "text_id": name,
        "annotator": version,
        "logit": text_logit(found),
        "top_logit": float(found[0]),
        "middle_logit": float(found[1]) if len(found) == 3 else None,
        "bottom_logit": float(found[-1]) if len(found) > 1 else None,
        "num_windows": len(found),
    }


if __name__ == "__main__":
    worker.main(Scoring, work)
