"""Tells the gateway how attempts ended, in a thread of its own, for as long as it takes.

A finished attempt is uploaded and completed from its spool folder. While the gateway is away the
render waits there, also across a restart of the worker. The parent claims nothing new while more
than one attempt is unreported, so an outage fills the spool with two batches at most.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from gateway.protocol import (
    AttemptRef,
    FailRequest,
    FailureCode,
    Progress,
)
from models.spec import Stage
from workers.gateway_client import GatewayClient, GatewayError, GatewayRefused, StaleAttempt
from workers.lease import LeaseKeeper
from workers.live import LiveChannel
from workers.retrying import TICK_S, GaveUp, until_available
from workers.spool import AttemptFolder

MAX_UNREPORTED = 1
"""A worker with more claims nothing."""

END_S = 2.0
REFUSED = "The worker's report was refused."

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Report:
    """How an attempt ended: `failure`, or None for finished, as its manifest says."""

    folder: AttemptFolder
    failure: FailRequest | None = None


class Reporter:
    """The queue of reports and the thread that sends them."""

    def __init__(self, gateway: GatewayClient, lease: LeaseKeeper, live: LiveChannel) -> None:
        self._gateway = gateway
        self._lease = lease
        self._live = live
        self._waiting: queue.Queue[Report] = queue.Queue()
        self._settled = threading.Event()
        self._give_up = False
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin to send reports."""
        self._thread.start()

    def submit(self, report: Report) -> None:
        """Have `report` sent; returns at once."""
        self._waiting.put(report)

    @property
    def num_unreported(self) -> int:
        """How many attempts were submitted whose reports are not through."""
        return self._waiting.unfinished_tasks

    def flush(self, *, give_up: Callable[[], bool], up_to: int = 0) -> None:
        """Wait until all but `up_to` of what was submitted is reported; for one thread at a time.

        `give_up` is asked several times a second.
        """
        while not give_up():
            # Cleared before the look, so that a report settled after it is not slept over.
            self._settled.clear()
            if self.num_unreported <= up_to:
                return
            self._settled.wait(TICK_S)

    def close(self, within_s: float) -> None:
        """Send what is left, for at most `within_s` seconds.

        A finished attempt that stays unreported waits in the spool for the next start; a failure
        is left to the end of the lease.
        """
        until = time.monotonic() + within_s
        self.flush(give_up=lambda: time.monotonic() >= until)
        if self.num_unreported:
            log.warning("reports_not_sent", count=self.num_unreported)
        self._give_up = True
        self._thread.join(END_S)

    def _run(self) -> None:
        while not self._give_up:
            try:
                report = self._waiting.get(timeout=TICK_S)
            except queue.Empty:
                continue
            try:
                self._settle(report)
            except Exception:
                # The folder stays; the next start tries again.
                log.exception("report_crashed", folder=report.folder.path.name)
                self._lease.release(report.folder.ref)
            finally:
                self._waiting.task_done()
                self._settled.set()

    def _settle(self, report: Report) -> None:
        job = report.folder.ref
        fields = {"job_id": job.job_id, "attempt": job.attempt}
        send = self._sender(job, report)
        try:
            until_available(send, give_up=lambda: self._give_up or self._lease.is_dropped(job))
            log.info("attempt_reported", is_failed=report.failure is not None, **fields)
        except StaleAttempt:
            log.info("attempt_stale", **fields)
        except (GatewayRefused, OSError) as error:
            log.exception("report_refused", reason=str(error), **fields)
            self._fail_refused(job)
        except GaveUp:
            if not self._lease.is_dropped(job):
                log.warning("report_not_sent", **fields)
                return
            log.info("attempt_dropped", **fields)
        report.folder.delete()
        self._lease.release(job)

    def _sender(self, job: AttemptRef, report: Report) -> Callable[[], None]:
        """Sends the report; called again after an outage, it goes on where it was."""
        if report.failure is not None:
            failure = report.failure
            return lambda: self._gateway.fail(job.job_id, failure)
        manifest = report.folder.find_manifest()
        if manifest is None:
            raise FileNotFoundError("a finished attempt has lost its manifest")
        unsent = list(manifest.artifacts)
        total = len(unsent)

        def send() -> None:
            while unsent:
                self._show(job, total - len(unsent), total)
                path = report.folder.artifact_path(unsent[0].role, unsent[0].content_type)
                self._gateway.upload(job, unsent[0], path)
                unsent.pop(0)
            self._gateway.complete(job.job_id, manifest)

        return send

    def _show(self, job: AttemptRef, done: int, total: int) -> None:
        position = Progress(attempt=job.attempt, stage=Stage.UPLOADING, done=done, total=total)
        self._live.publish(job.job_id, position)

    def _fail_refused(self, job: AttemptRef) -> None:
        failure = FailRequest(
            attempt=job.attempt, code=FailureCode.WORKER_LOST, message=REFUSED, retryable=True
        )
        try:
            self._gateway.fail(job.job_id, failure)
        except GatewayError as error:
            # The lease ends by itself, and the gateway gives the job to someone else.
            log.warning("failure_not_sent", job_id=job.job_id, reason=str(error))
