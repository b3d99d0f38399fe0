"""A job for tests in pods: it does what its request says, through the real entry point."""

import os
import sys
import time
from dataclasses import dataclass

from snow_assets.runtime import worker
from snow_assets.storage import shards


@dataclass(frozen=True, kw_only=True)
class Work:
    """Count parts, one file each; files that are there are not made again."""

    output: str
    num_parts: int = 1
    part_seconds: float = 0.0
    gate: str = ""  # a file that must be there before the gated part is made
    gated_part: int = 0
    exit_code: int = 0  # after the parts
    exits: int = 1_000  # how many starts end with it
    exiting_part: int | None = None  # ends with the code where it is due, not after all
    hog_mib: int = 0


@dataclass(frozen=True, kw_only=True)
class Worked:
    starts: int
    made: int  # parts, by this start


def work(request: Work, progress: worker.Progress) -> Worked:
    shards.put(shards.join(request.output, "starts", f"{time.time_ns()}"), b"")
    starts = len(shards.names(shards.join(request.output, "starts")))
    hog = bytearray(os.urandom(1 << 20) * request.hog_mib)
    made = 0
    for index in range(request.num_parts):
        if not progress.owns(index):
            continue
        while request.gate and index == request.gated_part and not shards.exists(request.gate):
            time.sleep(0.1)
        if index == request.exiting_part and _has_exit_left(request):
            _exit(request.exit_code)
        name = shards.join(request.output, "parts", f"{index:03d}")
        if not shards.exists(name):
            time.sleep(request.part_seconds)
            shards.put(name, f"{starts}".encode())
            shards.put(shards.join(request.output, "made", f"{index:03d}-{time.time_ns()}"), b"")
            made += 1
        progress.log(f"part {index} of {request.num_parts}")
    if request.exiting_part is None and request.exit_code and starts <= request.exits:
        _exit(request.exit_code)
    return Worked(starts=starts, made=made + len(hog) * 0)


def _exit(code: int) -> None:
    if code == worker.BAD_INPUT:
        raise ValueError(f"about to end with {code}")
    sys.exit(code)


def _has_exit_left(request: Work) -> bool:
    folder = shards.join(request.output, "exits")
    if len(shards.names(folder)) >= request.exits:
        return False
    shards.put(shards.join(folder, f"{time.time_ns()}"), b"")
    return True


if __name__ == "__main__":
    worker.main(Work, work)
