"""Which languages' scores or selection do not follow from the newest data and annotator.

Only pointers and manifests are read, so a sensor may ask every minute.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snow_assets import shards
from snow_assets.quality.facts import train_tokens
from snow_assets.quality.scores import ROUND

NEW_ANNOTATOR, NEW_ROUND = "new annotator", "new round"
"""Reasons that score everything, not only what is new."""


@dataclass(frozen=True)
class Stale:
    language: str
    reason: str
    key: str  # of what it should be made from: the same work always has the same key


@dataclass(frozen=True, kw_only=True)
class Current:
    """What a recipe's pointers name: language -> generation folder, and the annotator's."""

    clean: Mapping[str, str]
    annotator: str | None
    scores: Mapping[str, str]
    subsets: Mapping[str, str]
    scoring_round: str | None = None


def stale_languages(current: Current) -> list[Stale]:
    """Languages to score or select again, by name; none before there is an annotator."""
    if current.annotator is None:
        return []
    newest = shards.manifest(current.annotator)
    if not newest.facts.get("is_gate_passed", True):
        return []  # the scores of the promoted one stay; scoring would refuse this one
    annotator = newest.digest
    tokens = train_tokens(dict(current.clean))
    found = []
    for language, folder in sorted(current.clean.items()):
        clean = shards.manifest(folder).digest
        reason = _reason(current, language, clean, annotator, tokens)
        if reason is not None:
            parts = json.dumps(
                [language, clean, annotator, tokens, current.scoring_round], sort_keys=True
            )
            key = f"{language}:{hashlib.sha256(parts.encode()).hexdigest()[:16]}"
            found.append(Stale(language, reason, key))
    return found


def _reason(
    current: Current, language: str, clean: str, annotator: str, tokens: Mapping[str, int]
) -> str | None:
    if language not in current.scores:
        return "never scored"
    scored = _inputs(current.scores[language])
    if scored.get("clean_corpus") != clean:
        return "new data"
    if scored.get("quality_annotator") != annotator:
        return NEW_ANNOTATOR
    if shards.manifest(current.scores[language]).settings.get(ROUND) != current.scoring_round:
        return NEW_ROUND
    if language not in current.subsets:
        return "never selected"
    subset = shards.manifest(current.subsets[language])
    scores_digest = shards.manifest(current.scores[language]).digest
    if _inputs(current.subsets[language]).get("quality_scores") != scores_digest:
        return "new scores"
    settings: Any = subset.settings
    return None if settings["language_tokens"] == tokens else "other languages grew or shrank"


def _inputs(folder: str) -> dict[str, str]:
    return {given.asset: given.digest for given in shards.manifest(folder).inputs}
