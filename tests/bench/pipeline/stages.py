"""Where the time of a job goes in the worker, read from the lines of its log."""

import json
import statistics
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

STAGES = (
    ("job_claimed", "doorbell, claim"),
    ("batch_begun", "folder, order to the child"),
    ("batch_sampled", "denoised, with one preview"),
    ("clip_drawn", "decoded; encoded meanwhile"),
    ("video_written", "end of the MP4, label, probe"),
    ("stills_written", "spritesheet"),
    ("clip_written", "digests, manifest"),
    ("job_rendered", "heard by the parent"),
    ("attempt_reported", "three uploads, report"),
)
"""Events of a job in their order, and what has been done since the one before."""


class Stages:
    """Seconds of every stage, of jobs that were rendered alone, by their mode."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._taken: dict[str, list[list[float]]] = defaultdict(list)

    def note(self, job_id: str, rung_at: datetime, mode: str) -> None:
        """Remember how a finished job went."""
        times = {
            entry["event"]: datetime.fromisoformat(entry["timestamp"])
            for entry in map(json.loads, self._lines())
            if job_id == entry.get("job_id") or job_id in entry.get("jobs", ())
        }
        marks = [rung_at, *(times[event] for event, _ in STAGES)]
        taken = [later - sooner for sooner, later in pairwise(marks)]
        self._taken[mode].append([each / timedelta(seconds=1) for each in taken])

    def lines(self, mode: str) -> list[str]:
        """A table: medians and least values in ms."""
        columns = zip(*self._taken[mode], strict=True)
        lines = [f"{f'ms of one job in the worker, {mode}':38} median    least"]
        for (_, name), seconds in zip(STAGES, columns, strict=True):
            middle, least = statistics.median(seconds) * 1000, min(seconds) * 1000
            lines.append(f"  {name:36} {middle:6.1f} {least:8.1f}")
        return lines

    def _lines(self) -> list[str]:
        """All whole lines of the log that are entries."""
        lines = self._log_path.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith("{") and line.endswith("}")]
