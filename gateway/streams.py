"""What stands in the Redis streams that live progress is read from.

A job has one stream: its worker appends progress, the gateway appends announcements. An account
has one of announcements alone, so that a page hears of jobs it does not know yet. Both are capped
and expire. An announcement says no more than "look at this job": what is true is in the database.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from gateway.protocol import Progress

StreamId = tuple[int, int]
"""Milliseconds by the clock of Redis, and a number within the millisecond."""

START: StreamId = (0, 0)
_STREAM_ID = re.compile(r"(\d{1,19})-(\d{1,19})")


class Change(StrEnum):
    """What happened to a job, told after its commit. `terminal`: it ended or was deleted."""

    SUBMITTED = "submitted"
    CLAIMED = "claimed"
    REQUEUED = "requeued"
    TERMINAL = "terminal"


class Announcement(BaseModel):
    """A job changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    change: Change

    def to_fields(self) -> dict[str, str]:
        """The entry of the stream."""
        return {"job_id": self.job_id, "change": self.change}


class Entry(NamedTuple):
    """One entry of a stream; `content` is None if it is none of ours."""

    id: StreamId
    key: str
    content: Progress | Announcement | None


def read_entry(key: str, entry_id: bytes, fields: Mapping[bytes, bytes] | None) -> Entry:
    """An entry as Redis gives it; a trimmed one has no fields."""
    content: Progress | Announcement | None = None
    if fields:
        try:
            content = _read_content(fields)
        except (ValidationError, UnicodeDecodeError):
            content = None
    return Entry(parse_stream_id(entry_id.decode()) or START, key, content)


def parse_stream_id(text: str | None) -> StreamId | None:
    """The id that `text` writes; None if it writes none."""
    found = _STREAM_ID.fullmatch(text or "")
    return (int(found[1]), int(found[2])) if found else None


def format_stream_id(stream_id: StreamId) -> str:
    """The id as Redis writes it."""
    return f"{stream_id[0]}-{stream_id[1]}"


def account_key(account_id: str) -> str:
    """Redis stream with the announcements of an account's jobs, capped and expiring."""
    return f"reelgate:events:{account_id}"


def _read_content(fields: Mapping[Any, Any]) -> Progress | Announcement:
    if b"change" in fields:
        text = {name.decode(): value.decode() for name, value in fields.items()}
        return Announcement.model_validate(text)
    return Progress.from_fields(fields)
