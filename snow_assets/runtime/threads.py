"""Call a function in threads: with the results in order, or every so many seconds."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, num_threads: int
) -> Iterator[_Result]:
    """Results in the order of the items, two per thread of which are worked on ahead of the reader.

    For a function that releases the GIL; one thread is the caller's.
    """
    if num_threads == 1:
        yield from map(function, items)
        return
    pending: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * num_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def polling(poll: Callable[[], object], *, seconds: float) -> Iterator[None]:
    """Call `poll` every so many seconds, in a thread, while the block runs."""
    is_over = threading.Event()

    def poll_until_over() -> None:
        while not is_over.wait(seconds):
            poll()

    thread = threading.Thread(target=poll_until_over, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
