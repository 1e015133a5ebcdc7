"""The job of the bare RQ side. Imports little: a stock worker imports it anew for every job."""

import time

from rq import get_current_job

STARTS = "bench:starts"
"""Redis list of `time.monotonic` values, a clock that all processes of a machine share."""


def note_start() -> None:
    """Say when this job began."""
    began_at = time.monotonic()
    job = get_current_job()
    if job is None:
        raise RuntimeError("not in an RQ worker")
    job.connection.rpush(STARTS, began_at)
