"""Turns what the streams bring and what the database says into the events of one connection.

A feed remembers what it has told, so that nothing is told twice and no end is missed: an
announcement only makes it look, and a look finds every change, announced or not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.api.v1.live_events import ProgressEvent, QueuedEvent, progress_event, to_wire
from gateway.api.v1.schemas import VideoDeleted, VideoObject, eta_seconds, video_object
from gateway.domain.errors import NotFound
from gateway.domain.forecast import Eta
from gateway.domain.jobs import JobState
from gateway.jobs.repository import Job, find_own_job, list_watched_jobs
from gateway.protocol import Progress, progress_key
from gateway.services import Services
from gateway.streams import START, Announcement, Change, Entry, StreamId, account_key

# Clocks of several machines differ, and a page lists its jobs a moment before it listens.
_SLACK = timedelta(seconds=5)
# What ended longer ago than this while a client was away, it finds in its list.
_LONGEST_AWAY = timedelta(hours=1)


@dataclass(frozen=True)
class _Told:
    """What the client knows of an open job."""

    state: JobState
    attempt: int
    position: int | None = None


class Feed:
    """The events of one job, or of all jobs of an account.

    `open` and `look` block on database and Redis; they are called in threads, one at a time.

    Attributes:
        is_over: nothing more will be told.
    """

    def __init__(
        self,
        services: Services,
        account_id: str,
        *,
        video_id: str | None = None,
        resume_after: StreamId | None = None,
    ) -> None:
        self.is_over = False
        self._services = services
        self._account_id = account_id
        self._video_id = video_id
        self._is_resumed = resume_after is not None
        self._after = resume_after or START
        self._main_key = progress_key(video_id) if video_id else account_key(account_id)
        self._positions: dict[str, StreamId] = {}
        self._jobs: dict[str, Job] = {}
        self._etas: dict[str, Eta] = {}
        self._told: dict[str, _Told] = {}
        self._ended: set[str] = set()
        self._looked_at = services.clock.now()
        if self._is_resumed:
            earliest = self._looked_at - _LONGEST_AWAY
            left_at_s = min(self._after[0] / 1000, self._looked_at.timestamp())
            self._looked_at = max(datetime.fromtimestamp(left_at_s, UTC), earliest)

    @property
    def position(self) -> StreamId:
        """Behind which id a client goes on that was told the opening entries and no more."""
        return self._after if self._is_resumed else self._positions.get(self._main_key, START)

    @property
    def has_waiting(self) -> bool:
        """Whether a job waits, so that its place may change without a word about it."""
        return any(told.state is JobState.QUEUED for told in self._told.values())

    def open(self) -> list[Entry]:
        """Look for the first time; what the client has not had, to be digested.

        The streams are read before the database: what is announced in between is looked at again.

        Raises:
            NotFound: the account has no such job.
        """
        start = START if self._is_resumed else None
        entries = self._services.queue.read_streams({self._main_key: start})
        self.look([])
        if self._video_id and not self._jobs:
            raise NotFound(f"no video {self._video_id}", param="video_id")
        if not self._video_id:
            keys = [progress_key(job_id) for job_id in self._jobs]
            entries += self._services.queue.read_streams(dict.fromkeys(keys, start))
        entries.sort(key=lambda entry: entry.id)
        self._positions = {entry.key: max(entry.id, self._after) for entry in entries}
        self._remember([entry for entry in entries if entry.id <= self._after])
        return [entry for entry in entries if entry.id > self._after]

    def look(self, entries: list[Entry]) -> None:
        """Read the jobs from the database; those that `entries` announce too."""
        since = self._looked_at - _SLACK
        self._looked_at = self._services.clock.now()
        with self._services.database.read() as connection:
            if self._video_id:
                job = find_own_job(connection, self._account_id, self._video_id)
                jobs = [job] if job else []
            else:
                known = self._announced(entries).keys() | self._told.keys()
                jobs = list_watched_jobs(connection, self._account_id, known=known, since=since)
            waiting = [job for job in jobs if job.state is JobState.QUEUED]
            self._etas = self._services.forecasts.find(connection, waiting)
        self._jobs = {job.id: job for job in jobs}

    def wants_look(self, entries: list[Entry]) -> bool:
        """Whether `entries` tell of anything but progress."""
        return bool(self._announced(entries))

    def streams(self) -> Mapping[str, StreamId]:
        """The streams to follow, each from behind an id."""
        running = [job.id for job in self._jobs.values() if job.state is JobState.RUNNING]
        keys = [self._main_key, *map(progress_key, running)]
        return {key: self._positions.get(key, self._after) for key in keys}

    def digest(self, entries: list[Entry]) -> Iterator[bytes]:
        """The events of `entries` and of the newest look, each as it goes over the wire."""
        entries = [entry for entry in entries if self._is_for_us(entry)]
        announced = self._announced(entries)
        for entry, following in zip(entries, [*entries[1:], None], strict=False):
            # Of entries with one id the last names it, so that a reconnect skips none of them.
            is_tied = following is not None and following.id == entry.id
            event_id = None if is_tied else entry.id
            if isinstance(entry.content, Progress):
                yield from self._progressed(_job_id(entry), entry.content, event_id)
            elif announced[_job_id(entry)] == entry.id:
                yield from self._changed(_job_id(entry), event_id)
        for job_id in [*self._jobs, *(self._told.keys() - self._jobs.keys())]:
            yield from self._changed(job_id, None)
        self._ended &= self._jobs.keys()

    def _is_for_us(self, entry: Entry) -> bool:
        return isinstance(entry.content, Progress) or (
            entry.content is not None and entry.key == self._main_key
        )

    def _announced(self, entries: list[Entry]) -> dict[str, StreamId]:
        """Jobs that `entries` announce, each with the id of its last announcement."""
        return {
            entry.content.job_id: entry.id
            for entry in entries
            if entry.key == self._main_key and isinstance(entry.content, Announcement)
        }

    def _remember(self, entries: list[Entry]) -> None:
        """What a client that comes back has had: take it as told."""
        for entry in entries:
            job_id, content = _job_id(entry), entry.content
            if isinstance(content, Announcement) and content.change is Change.TERMINAL:
                self._ended.add(job_id)
                self.is_over = self._video_id is not None
            job = self._jobs.get(job_id)
            if job and job.state is JobState.RUNNING and _is_about(content, job):
                self._told[job_id] = _Told(job.state, job.attempt)

    def _progressed(
        self, job_id: str, progress: Progress, event_id: StreamId | None
    ) -> Iterator[bytes]:
        told, job = self._told.get(job_id), self._jobs.get(job_id)
        if told is not None:
            is_running = told.state is JobState.RUNNING
            is_next = (progress.attempt, is_running) >= (told.attempt, True)
        else:
            # Of a job that has ended since, the last steps still come before its end.
            is_next = (
                job is not None
                and job.state is not JobState.QUEUED
                and job.attempt == progress.attempt
                and job_id not in self._ended
            )
        if is_next:
            self._told[job_id] = _Told(JobState.RUNNING, progress.attempt)
            yield to_wire("progress", progress_event(job_id, progress), event_id)

    def _changed(self, job_id: str, event_id: StreamId | None) -> Iterator[bytes]:
        """The event that brings the client from what it was told to what is true."""
        job, told = self._jobs.get(job_id), self._told.get(job_id)
        if job is None:
            if told is not None:
                yield self._end(job_id, VideoDeleted(id=job_id), event_id)
        elif job.state.is_terminal:
            if job_id not in self._ended:
                video = video_object(job, position=None, progress=None)
                yield self._end(job_id, video, event_id)
        # A worker that was heard may be ahead of the newest look.
        elif told is None or told.attempt <= job.attempt:
            eta = self._etas.get(job_id)
            now = _Told(job.state, job.attempt, eta.position if eta else None)
            if told != now:
                self._told[job_id] = now
                yield _state_event(job_id, now, eta, event_id)

    def _end(
        self, job_id: str, last_word: VideoObject | VideoDeleted, event_id: StreamId | None
    ) -> bytes:
        self._told.pop(job_id, None)
        self._ended.add(job_id)
        self.is_over = self._video_id is not None
        return to_wire("terminal", last_word, event_id)


def _state_event(job_id: str, now: _Told, eta: Eta | None, event_id: StreamId | None) -> bytes:
    if now.state is JobState.QUEUED:
        queued = QueuedEvent(id=job_id, position=now.position, eta_seconds=eta_seconds(eta))
        return to_wire("queued", queued, event_id)
    return to_wire("progress", ProgressEvent(id=job_id, attempt=now.attempt), event_id)


def _job_id(entry: Entry) -> str:
    if isinstance(entry.content, Announcement):
        return entry.content.job_id
    return entry.key.removeprefix(progress_key(""))


def _is_about(content: Progress | Announcement | None, job: Job) -> bool:
    """Whether a client that had `content` knows that the job runs in its present attempt."""
    if isinstance(content, Progress):
        return content.attempt == job.attempt
    return content is not None and content.change is Change.CLAIMED
