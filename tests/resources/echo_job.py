"""A job for tests: it does what its request says, through the real entry point."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from snow_assets.runtime import worker


@dataclass(frozen=True, kw_only=True)
class Echo:
    word: str
    behaviour: str = "answer"
    marker: str = ""  # a file that every start appends a line to


@dataclass(frozen=True, kw_only=True)
class Echoed:
    word: str
    starts: int


def work(request: Echo, progress: worker.Progress) -> Echoed:
    marker = Path(request.marker)
    with marker.open("a") as file:
        file.write("started\n")
    starts = len(marker.read_text().splitlines())
    progress.log(f"start {starts}")
    for step in range(3):
        progress.metrics(step, loss=3.0 - step)
    if request.behaviour.startswith("linger"):
        linger(request, marker, starts)
    if request.behaviour == "refuse":
        raise ValueError(f"the word {request.word!r} is refused: say another")
    if request.behaviour == "die once" and starts == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return Echoed(word=request.word, starts=starts)


def is_alive(process: str) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def linger(request: Echo, marker: Path, starts: int) -> None:
    """At the first start: leave a temporary folder and work for a minute, "deaf" to SIGTERM or with
    a "child" that outlives it; later: append whether the first start's processes still live."""
    beside = marker.with_suffix(".processes")
    if starts > 1:
        alive = [line for line in beside.read_text().split() if is_alive(line)]
        with marker.open("a") as file:
            file.write(f"alive: {alive}\n")
        return
    processes = [os.getpid()]
    if request.behaviour == "linger deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if request.behaviour == "linger with child":
        sleep = "import time; time.sleep(60)"
        child = subprocess.Popen([sys.executable, "-c", sleep], start_new_session=True)
        processes.append(child.pid)
    tempfile.mkdtemp(prefix="left-behind-")
    beside.write_text(" ".join(map(str, processes)))
    if request.behaviour == "linger briefly":
        time.sleep(3)
        return
    time.sleep(60)


if __name__ == "__main__":
    worker.main(Echo, work)
