"""GPU job: the kept train documents of a language to scores, a part at a time.

Killed at any moment it loses at most the part in progress. Texts that an earlier generation has
scored under the same annotator are not read by the encoder again.
"""

import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

from snow_assets import pod, shards
from snow_assets.quality import encoder as encoders
from snow_assets.quality import scores
from snow_assets.quality.contract import Annotator, Scoring, ScoringReport
from snow_assets.quality.encoder import Encoder
from snow_assets.quality.gate import refuse_failed_gate
from snow_assets.quality.head import Head, Vectors, read_head, text_logit, text_logits


def work(request: Scoring, progress: pod.Progress) -> ScoringReport:
    annotator = refuse_failed_gate(request.annotator)
    head = read_head(request.annotator)
    encoder = load_encoder(
        annotator, batch_tokens=request.batch_tokens, threads=request.num_threads
    )
    wanted = scores.text_ids(request.clean)
    known = scores.Known.of(request.earlier, annotator=annotator.version, wanted=set(wanted))
    progress.say(f"{len(wanted)} texts, of which {len(known.rows)} have a score already")
    texts = scores.texts(request.clean)
    all_parts = scores.parts(wanted, request.part_texts)
    for index, part in enumerate(all_parts):
        content = dict(islice(texts, len(part)))
        if not progress.takes(index):
            continue
        if shards.record(request.output, shards.table_name(scores.TABLE, index)) is not None:
            continue
        new = {name: text for name, text in content.items() if name not in known.rows}
        started = time.monotonic()
        fresh = _score(new, encoder, head, annotator.version)
        seconds = time.monotonic() - started
        scores.put_part(request.output, index, part, known, fresh)
        progress.say(f"part {index + 1} of {len(all_parts)}: {len(fresh)} scored")
        progress.metrics(index, num_scored=len(fresh), seconds=seconds)
    return scores.report(request.output, annotator=annotator.version)


def load_encoder(annotator: Annotator, *, batch_tokens: int, threads: int) -> Encoder:
    """The encoder that an annotator was trained on; ValueError if other weights lie there now."""
    encoder = encoders.load(
        annotator.encoder, pooling=annotator.pooling, window_tokens=annotator.window_tokens,
        precision=annotator.precision, batch_tokens=batch_tokens, threads=threads,
    )  # fmt: skip
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


def _score(
    texts: dict[str, str], encoder: Encoder, head: Head, version: str
) -> dict[str, dict[str, Any]]:
    names: Sequence[str] = list(texts)
    logits = text_logits(list(texts.values()), encoder, head) if texts else []
    return {name: _row(name, found, version) for name, found in zip(names, logits, strict=True)}


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
    pod.main(Scoring, work)
