"""What a generation job reports: its counts and times, and its throughput as a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GenerationReport:
    """Counts and times of a generation job's attempt, without the parts of earlier attempts."""

    num_parts: int = 0
    num_completions: int = 0
    num_completion_tokens: int = 0
    num_queried_prefix_tokens: int = 0  # looked up in the engine's cache of prefixes
    num_cached_prefix_tokens: int = 0  # and found there
    start_seconds: float = 0.0  # until the engine was ready
    seconds: float = 0.0  # of generation, without startup


def generation_speed(reports: Sequence[GenerationReport]) -> str:
    """The throughput of a generation job's pods as a sentence."""
    num_completions = sum(report.num_completions for report in reports)
    if not num_completions:
        return "every part was there already"
    seconds = max(report.seconds for report in reports)
    rate = sum(report.num_completion_tokens for report in reports) / max(seconds, 1e-3)
    start_seconds = max(report.start_seconds for report in reports)
    sentence = (
        f"{num_completions} completions in {sum(report.num_parts for report in reports)} parts: "
        f"{rate:.0f} tokens/s for {seconds:.0f} s, after {start_seconds:.0f} s for the engine's "
        "start"
    )
    num_queried = sum(report.num_queried_prefix_tokens for report in reports)
    if not num_queried:
        return sentence
    share = sum(report.num_cached_prefix_tokens for report in reports) / num_queried
    return f"{sentence}; {share:.0%} of the prompts' tokens were in the prefix cache"
