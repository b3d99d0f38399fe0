"""GPU job: score the kept train documents of a language, part by part.

A kill loses at most the part in progress. Texts with an earlier score under the same annotator are
not encoded again.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from snow_assets.quality import encoder as encoders
from snow_assets.quality import scores
from snow_assets.quality.contract import Annotator, ScoringReport, ScoringRequest
from snow_assets.quality.encoder import Encoder
from snow_assets.quality.gate import read_annotator
from snow_assets.quality.head import Vectors, read_head, text_logit, text_logits
from snow_assets.quality.text_parts import TextParts
from snow_assets.quality.windows import Tokens
from snow_assets.runtime import worker
from snow_assets.runtime.exchange.shard_work import missing_shards
from snow_assets.runtime.remaining_time import Remaining

T = TypeVar("T")


@dataclass(frozen=True)
class _TokenizedPart:
    """A tokenized part, with the windows of its texts that have no score yet."""

    index: int
    earlier: dict[str, scores.ScoreRow | None]
    windows: dict[str, list[Tokens]]


def work(request: ScoringRequest, progress: worker.Progress) -> ScoringReport:
    """Score this worker's parts. Of the corpus it reads the shards that these lie in, of earlier
    artifacts all scores. Memory: three parts, a shard of documents, a block of `TextParts`."""
    annotator = read_annotator(request.annotator)
    head = read_head(request.annotator)
    encoder = load_encoder(request, annotator)
    parts = TextParts.of(request.clean, request.part_texts)
    own_parts = parts.of_worker(progress.shard, progress.num_shards)
    unfinished = missing_shards(request.output, scores.TABLE, own_parts)
    progress.log(f"{len(unfinished)} parts of {parts.num_parts}, of {parts.num_texts} texts")

    def tokenized_parts() -> Iterator[_TokenizedPart]:
        for block in parts.blocks(unfinished):
            earlier = scores.EarlierScores.read(
                request.earlier, annotator=annotator.version, text_ids=parts.text_ids(block)
            )
            slices = dict(parts.slices(block))
            has_new = {
                index: not earlier.num_windows[texts].all() for index, texts in slices.items()
            }
            tables = parts.tables(filter(has_new.__getitem__, block), ["text"])
            for index in block:
                rows = earlier.rows(slices[index])
                new_ids = [name for name, row in rows.items() if row is None]
                windows: Iterable[list[Tokens]] = ()
                if new_ids:
                    _, table = next(tables)
                    is_new = pa.array([row is None for row in rows.values()])
                    windows = encoder.windows(table["text"].filter(is_new).to_pylist())
                yield _TokenizedPart(index, rows, dict(zip(new_ids, windows, strict=True)))

    def scored_parts() -> Iterator[tuple[_TokenizedPart, list[Vectors], float]]:
        for part in _prefetch(tokenized_parts()):
            started = time.monotonic()
            logits = text_logits(list(part.windows.values()), encoder, head)
            yield part, logits, time.monotonic() - started

    remaining = Remaining(len(unfinished), "parts scored")
    for part, logits, seconds in _prefetch(scored_parts()):
        new_scores = {
            name: _score_row(name, window_logits, annotator.version)
            for name, window_logits in zip(part.windows, logits, strict=True)
        }
        scores.write_part(request.output, part.index, part.earlier, new_scores)
        progress.log(f"{remaining.advance()}; {len(new_scores)} texts in the last")
        progress.metrics(part.index, num_scored=len(new_scores), seconds=seconds)
    return scores.report(request.output, annotator=annotator.version)


def _prefetch(parts: Iterator[T]) -> Iterator[T]:
    """Yield the parts, computing the next one in a thread: one part is tokenized while another is
    encoded and a third one is written."""
    with ThreadPoolExecutor(1) as pool:
        next_part = pool.submit(next, parts, None)
        while (part := next_part.result()) is not None:
            next_part = pool.submit(next, parts, None)
            yield part


def load_encoder(request: ScoringRequest, annotator: Annotator) -> Encoder:
    """Load the encoder an annotator was trained on; ValueError if its files have changed."""
    is_in_artifact = annotator.runtime == "openvino"
    encoder = encoders.load(
        request.annotator if is_in_artifact else str(encoders.locate_encoder(annotator.encoder)),
        runtime=annotator.runtime,
        pooling=annotator.pooling,
        window_tokens=annotator.window_tokens,
        precision=annotator.precision,
        batch_tokens=request.batch_tokens,
        threads=request.num_threads,
    )
    if (encoder.model.digest, encoder.tokenizer_digest) != (
        annotator.encoder_digest,
        annotator.tokenizer_digest,
    ):
        raise ValueError(
            f"{annotator.encoder} is not the encoder that annotator {annotator.version[:12]} was "
            f"trained on ({encoder.model.digest[:12]}, not {annotator.encoder_digest[:12]}): put "
            "that one back, or materialize quality_annotator again"
        )
    return encoder


def _score_row(text_id: str, window_logits: Vectors, annotator: str) -> dict[str, Any]:
    return {
        "text_id": text_id,
        "annotator": annotator,
        "logit": text_logit(window_logits),
        "top_logit": float(window_logits[0]),
        "middle_logit": float(window_logits[1]) if len(window_logits) == 3 else None,
        "bottom_logit": float(window_logits[-1]) if len(window_logits) > 1 else None,
        "num_windows": len(window_logits),
    }


if __name__ == "__main__":
    worker.main(ScoringRequest, work)
