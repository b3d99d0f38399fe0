"""Requests roll on across parts, parts come back whole, and little is lost by a kill."""

from collections import deque
from collections.abc import Iterator, Sequence

import pytest

from snow_assets.runtime.generation_report import GenerationReport, generation_speed
from snow_assets.runtime.inference import RequestId, completed_parts


class Rounds:
    """A queue that runs a few requests at once; each prompt is the rounds that it takes."""

    def __init__(self, num_slots: int) -> None:
        self.num_slots, self.num_rounds, self.num_resets = num_slots, 0, 0
        self.waiting: deque[tuple[RequestId, int]] = deque()
        self.running: dict[RequestId, int] = {}
        self.idle_slots = 0

    def submit(self, request_id: RequestId, prompt: int) -> None:
        self.waiting.append((request_id, prompt))

    def wait(self) -> list[tuple[RequestId, str]]:
        while True:
            while self.waiting and len(self.running) < self.num_slots:
                request_id, rounds = self.waiting.popleft()
                self.running[request_id] = rounds
            assert self.running, "nothing is in progress"
            self.num_rounds += 1
            self.idle_slots += self.num_slots - len(self.running)
            self.running = {name: rounds - 1 for name, rounds in self.running.items()}
            finished = [name for name, rounds in self.running.items() if rounds == 0]
            for name in finished:
                del self.running[name]
            if finished:
                return [(name, f"{name[0]}.{name[1]}") for name in finished]

    def reset(self) -> None:
        assert not self.running and not self.waiting
        self.num_resets += 1


PARTS = [(part, [1, 9, 2, 3]) for part in range(6)]


def texts(part: int) -> list[str]:
    return [f"{part}.{position}" for position in range(4)]


@pytest.mark.parametrize("max_open_parts", [1, 2, 3])
def test_each_part_comes_back_whole_and_in_the_order_of_its_prompts(max_open_parts: int) -> None:
    found = dict(completed_parts(Rounds(3), PARTS, max_open_parts=max_open_parts))
    assert found == {part: texts(part) for part, _ in PARTS}


def test_the_next_part_runs_beside_the_last_requests_of_a_part() -> None:
    rolling, isolated = Rounds(4), Rounds(4)
    list(completed_parts(rolling, PARTS))
    list(completed_parts(isolated, PARTS, max_open_parts=1))
    assert rolling.num_rounds < 0.8 * isolated.num_rounds
    assert rolling.idle_slots < 0.5 * isolated.idle_slots


def test_a_part_that_is_complete_before_an_earlier_one_is_yielded_first() -> None:
    parts = [(0, [9, 1]), (1, [1, 1])]
    assert [index for index, _ in completed_parts(Rounds(4), parts)] == [1, 0]


@pytest.mark.parametrize("max_open_parts", [1, 2])
def test_no_more_parts_are_submitted_than_may_be_lost(max_open_parts: int) -> None:
    submitted: list[int] = []

    def parts() -> Iterator[tuple[int, Sequence[int]]]:
        for part, prompts in PARTS:
            submitted.append(part)
            yield part, prompts

    yielded: list[int] = []
    for index, _ in completed_parts(Rounds(8), parts(), max_open_parts=max_open_parts):
        yielded.append(index)
        assert len(submitted) - len(yielded) <= max_open_parts


def test_isolated_parts_start_without_what_earlier_ones_left_in_the_cache() -> None:
    isolated = Rounds(8)
    list(completed_parts(isolated, PARTS, max_open_parts=1))
    assert isolated.num_resets == len(PARTS)


def test_a_part_without_requests_is_complete() -> None:
    assert list(completed_parts(Rounds(1), [(3, [])])) == [(3, [])]


def test_a_jobs_speed_is_that_of_all_its_pods_without_the_engines_start() -> None:
    pods = [
        GenerationReport(
            num_parts=2,
            num_completions=8,
            num_completion_tokens=300,
            num_queried_prefix_tokens=40,
            num_cached_prefix_tokens=30,
            start_seconds=5.0,
            seconds=2.0,
        ),
        GenerationReport(num_parts=1, num_completions=4, num_completion_tokens=100, seconds=4.0),
    ]
    assert generation_speed(pods) == (
        "12 completions in 3 parts: 100 tokens/s for 4 s, after 5 s for the engine's start; "
        "75% of the prompts' tokens were in the prefix cache"
    )
    assert generation_speed([GenerationReport()]) == "every part was there already"
