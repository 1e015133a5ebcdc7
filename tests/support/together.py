"""Calls that begin at the same moment, from threads or from processes."""

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from multiprocessing.synchronize import Barrier as ProcessBarrier
from typing import Any

from gateway.db.session import Database
from gateway.domain.errors import GatewayError
from tests.support.clock import ManualClock
from tests.support.ledger import Teller


def at_once(*calls: Callable[[], object]) -> list[object]:
    """Every call's answer, or the refusal it met, in their order; one thread each."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except GatewayError as refusal:
            return refusal

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def kinds(answers: list[object]) -> dict[str, int]:
    """How many answers there are of each type, by name."""
    return dict(Counter(type(answer).__name__ for answer in answers))


def submit_from_processes(
    url: str, account_id: str, *, now: datetime, price: int, num_processes: int, num_each: int
) -> dict[str, int]:
    """Submit from processes of their own, each with its own connections; answers by type."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(num_processes)
    results = context.SimpleQueue()
    processes = [
        context.Process(
            target=_submit_many, args=(url, account_id, now, price, num_each, barrier, results)
        )
        for _ in range(num_processes)
    ]
    for process in processes:
        process.start()
    found: Counter[str] = Counter()
    for _ in processes:
        found.update(results.get())
    for process in processes:
        process.join()
    results.close()
    return dict(found)


def _submit_many(
    url: str,
    account_id: str,
    now: datetime,
    price: int,
    num_calls: int,
    barrier: ProcessBarrier,
    results: Any,
) -> None:
    database = Database(url)
    teller = Teller(database, ManualClock(now))
    barrier.wait()
    answers = at_once(*[lambda: teller.submit(account_id, price)] * num_calls)
    results.put(kinds(answers))
    database.close()
