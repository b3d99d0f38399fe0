"""A job for tests: it does what its request says, through the real entry point."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from snow_assets import pod


@dataclass(frozen=True, kw_only=True)
class Echo:
    word: str
    behaviour: str = "answer"
    marker: str = ""  # a file that every start appends a line to


@dataclass(frozen=True, kw_only=True)
class Echoed:
    word: str
    starts: int


def work(request: Echo, progress: pod.Progress) -> Echoed:
    marker = Path(request.marker)
    with marker.open("a") as file:
        file.write("started\n")
    starts = len(marker.read_text().splitlines())
    progress.say(f"start {starts}")
    for step in range(3):
        progress.metrics(step, loss=3.0 - step)
    if request.behaviour == "refuse":
        raise ValueError(f"the word {request.word!r} is refused: say another")
    if request.behaviour == "die once" and starts == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return Echoed(word=request.word, starts=starts)


if __name__ == "__main__":
    pod.main(Echo, work)
