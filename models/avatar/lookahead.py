"""Frames drawn ahead of their reader by a few threads, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from models.avatar.controls import Floats
from models.pipeline import Frame

THREADS = 2
AHEAD = 4
"""Most frames that wait or are being drawn."""


def drawn_ahead(draw: Callable[[Floats], Frame], rows: Iterable[Floats]) -> Iterator[Frame]:
    """`draw` of every row, in order. An error of a drawing is raised where its frame was due.

    Closing the iterator, or dropping it, ends the threads.
    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="drawing")
    waiting: deque[Future[Frame]] = deque()
    left = iter(rows)
    try:
        waiting.extend(pool.submit(draw, row) for row in islice(left, AHEAD))
        while waiting:
            frame = waiting.popleft().result()
            waiting.extend(pool.submit(draw, row) for row in islice(left, 1))
            yield frame
    finally:
        pool.shutdown(cancel_futures=True)
