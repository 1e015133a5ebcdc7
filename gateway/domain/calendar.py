"""Days and months by the calendar. A day is not 24 hours and a month is not 30 days."""

from calendar import monthrange
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def day_of(now: datetime, zone: ZoneInfo) -> date:
    """The calendar day that the instant `now` falls on in `zone`."""
    return now.astimezone(zone).date()


def start_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of `day` in `zone`.

    Where midnight does not exist (Cairo's day of the change in spring), it is the instant the
    clocks jump to, which is what `zoneinfo` makes of a time inside the gap.
    """
    return datetime.combine(day, time.min, zone)


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant after `day` in `zone`."""
    return start_of(day + timedelta(days=1), zone)


def months_after(anchor: date, months: int) -> date:
    """The day `months` months after `anchor`; the last of the month where that one is shorter.

    Counted from the anchor every time: 31 January, 28 February, 31 March.
    """
    index = anchor.year * 12 + anchor.month - 1 + months
    year, month = divmod(index, 12)
    last = monthrange(year, month + 1)[1]
    return date(year, month + 1, min(anchor.day, last))
