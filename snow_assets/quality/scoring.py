"""GPU job: score the kept train documents of a language, part by part.

A kill loses at most the part in progress. Texts with an earlier score under the same annotator are
not encoded again.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from snow_assets.quality import encoder as encoders
from snow_assets.quality import scores
from snow_assets.quality.contract import Annotator, ScoringReport, ScoringRequest
from snow_assets.quality.encoder import Encoder
from snow_assets.quality.gate import require_passed_gates
from snow_assets.quality.head import Vectors, read_head, text_logit, text_logits
from snow_assets.quality.windows import Tokens
from snow_assets.runtime import worker
from snow_assets.runtime.remaining_time import Remaining
from snow_assets.storage import shards

T = TypeVar("T")


@dataclass(frozen=True)
class _TokenizedPart:
    """A tokenized part, with the windows of its texts that have no score yet."""

    index: int
    text_ids: Sequence[str]
    windows: dict[str, list[Tokens]]


def work(request: ScoringRequest, progress: worker.Progress) -> ScoringReport:
    annotator = require_passed_gates(request.annotator)
    head = read_head(request.annotator)
    encoder = load_encoder(request, annotator)
    text_ids = scores.text_ids(request.clean)
    earlier = scores.EarlierScores.read(
        request.earlier, annotator=annotator.version, text_ids=set(text_ids)
    )
    progress.log(f"{len(text_ids)} texts, of which {len(earlier.rows)} have a score already")
    all_parts = scores.parts(text_ids, request.part_texts)

    def tokenized_parts() -> Iterator[_TokenizedPart]:
        texts = scores.texts(request.clean)
        for index, part in enumerate(all_parts):
            text_by_id = dict(islice(texts, len(part)))
            name = shards.table_name(scores.TABLE, index)
            if progress.owns(index) and shards.record(request.output, name) is None:
                new_ids = [name for name in text_by_id if name not in earlier.rows]
                windows = encoder.windows([text_by_id[name] for name in new_ids])
                yield _TokenizedPart(index, part, dict(zip(new_ids, windows, strict=True)))

    def scored_parts() -> Iterator[tuple[_TokenizedPart, list[Vectors], float]]:
        for part in _prefetch(tokenized_parts()):
            started = time.monotonic()
            logits = text_logits(list(part.windows.values()), encoder, head)
            yield part, logits, time.monotonic() - started

    remaining = Remaining(len(all_parts), "parts scored")
    for part, logits, seconds in _prefetch(scored_parts()):
        new_scores = {
            name: _score_row(name, window_logits, annotator.version)
            for name, window_logits in zip(part.windows, logits, strict=True)
        }
        scores.write_part(request.output, part.index, part.text_ids, earlier, new_scores)
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
