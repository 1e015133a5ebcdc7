"""What container health checks look at: two files of the spool folder.

One is touched while the main loop turns, the other holds a sentence while the worker is unfit.
"""

import time
from contextlib import suppress
from pathlib import Path

BEAT_S = 5.0
FRESH_S = 60.0
"""Longer than any wait of the main loop between two beats."""

PULSE_FILE = "pulse"
UNFIT_FILE = "unfit"


class Pulse:
    """Touches a file of the spool folder while the main loop turns."""

    def __init__(self, spool_dir: Path) -> None:
        self._path = spool_dir / PULSE_FILE
        self._last_at = float("-inf")

    def beat(self) -> bool:
        """Say that the main loop turns; cheap to call often. True once every few seconds."""
        now = time.monotonic()
        if now - self._last_at < BEAT_S:
            return False
        self._last_at = now
        # A full disk is no reason to stop.
        with suppress(OSError):
            self._path.touch()
        return True


def has_pulse(spool_dir: Path) -> bool:
    """Whether a worker's main loop has turned within the last minute."""
    try:
        age_s = time.time() - (spool_dir / PULSE_FILE).stat().st_mtime
    except OSError:
        return False
    return age_s < FRESH_S


def write_unfit(spool_dir: Path, reason: str | None) -> None:
    """Leave the reason why this worker cannot render; None: it can."""
    # A full disk is no reason to stop.
    with suppress(OSError):
        if reason is None:
            (spool_dir / UNFIT_FILE).unlink(missing_ok=True)
        else:
            (spool_dir / UNFIT_FILE).write_text(reason, encoding="utf-8")


def find_unfit(spool_dir: Path) -> str | None:
    """The reason that the worker of this spool folder left, if any."""
    try:
        return (spool_dir / UNFIT_FILE).read_text(encoding="utf-8")
    except OSError:
        return None
