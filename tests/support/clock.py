"""A clock that stands still until a test moves it."""

from datetime import datetime, timedelta


class ManualClock:
    """Tells `instant`; `advance` moves it, back too."""

    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def now(self) -> datetime:
        """The instant that was set."""
        return self.instant

    def advance(self, **by: float) -> None:
        """Move by a `timedelta` written as its keywords."""
        self.instant += timedelta(**by)
