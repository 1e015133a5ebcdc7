"""Measured durations: what is kept apart, and what a migration makes of older ones."""

from sqlalchemy import insert, select, text

from gateway.db.migrate import downgrade, upgrade
from gateway.db.session import Database
from gateway.db.tables import duration
from gateway.domain.durations import UNMEASURED_S, DurationKey
from gateway.jobs.durations import expect, note
from gateway.services import Services
from models.spec import BatchKey

FAST: BatchKey = ("text_to_video", "m", "64x64", 17, 4, 1.0, 8, "fast")
OLD = ("model", "kind", "size", "num_frames", "num_inference_steps", "mean_s")


def test_modes_are_measured_apart(services: Services) -> None:
    fast, quality = DurationKey.of(FAST), DurationKey.of((*FAST[:-1], "quality"))
    with services.database.write() as connection:
        for _ in range(4):
            note(connection, fast, 2.0)
            note(connection, quality, 60.0)
        found = expect(connection, [fast, quality])
    assert (found[fast].mean_s, found[quality].mean_s) == (2.0, 60.0)
    assert found[fast].num_measured == 4


def test_rates_and_guidance_are_measured_apart(services: Services) -> None:
    slow = DurationKey.of(FAST)
    others = [slow._replace(fps=48), slow._replace(is_guided=True)]
    with services.database.write() as connection:
        note(connection, slow, 2.0)
        for seconds, other in enumerate(others, start=10):
            note(connection, other, seconds)
        found = expect(connection, [slow, *others])
    assert [found[key].mean_s for key in (slow, *others)] == [2.0, 10.0, 11.0]


def test_what_was_measured_before_modes_counted_is_guessed_from(database_url: str) -> None:
    database = Database(database_url)
    downgrade(database, "0003")
    with database.write() as connection:
        connection.execute(
            text("INSERT INTO duration VALUES ('m', 'text_to_video', '64x64', 17, 4, 6.0, 1.0, 5)")
        )
    upgrade(database)
    with database.write() as connection:
        fast = DurationKey.of(FAST)
        [guessed] = expect(connection, [fast]).values()
        assert (guessed.mean_s, guessed.num_measured) == (6.0, 0)
        note(connection, fast, 1.0)
        wanted = fast._replace(num_inference_steps=8)
        assert expect(connection, [wanted])[wanted].mean_s == 2.0
        other = fast._replace(model="other")
        assert expect(connection, [other])[other].mean_s == UNMEASURED_S
    database.close()


def test_a_downgrade_keeps_the_average_with_most_behind_it(database_url: str) -> None:
    database = Database(database_url)
    key = DurationKey.of(FAST)
    rows = [
        {
            **key._replace(mode=mode)._asdict(),
            "mean_s": seconds,
            "deviation_s": 0.0,
            "num_measured": n,
        }
        for mode, seconds, n in (("fast", 2.0, 3), ("quality", 60.0, 30), ("pro", 9.0, 7))
    ]
    with database.write() as connection:
        connection.execute(insert(duration), rows)
    downgrade(database, "0003")
    with database.read() as connection:
        columns = [text(name) for name in OLD]
        found = connection.execute(select(*columns).select_from(text("duration"))).all()
    assert [tuple(row) for row in found] == [("m", "text_to_video", "64x64", 17, 4, 60.0)]
    upgrade(database)
    database.close()
