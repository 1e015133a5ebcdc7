"""A clip that is encoded by a thread: who answers for it, when it stops, and what it may hold."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from models.pipeline import Canceled, Clip, Frame
from tests.unit.workers.test_clips import order
from workers import writing
from workers.media.encode import EncodeError
from workers.messages import RenderOrder
from workers.spool import MANIFEST, AttemptFolder
from workers.writing import Desk

NUM_FRAMES = 12
Answers = list[tuple[str, Exception | None]]


class Script:
    """Draws for a desk, and remembers what it answered; `gate` holds the encoder up."""

    def __init__(self, folder: Path) -> None:
        self.desk = Desk()
        self.order = order(folder, NUM_FRAMES)
        self.answers: Answers = []
        self.num_drawn = 0
        self.gate = threading.Event()
        self.gate.set()

    def draw(self, count: int = NUM_FRAMES, *, error: Exception | None = None) -> Clip:
        """A clip of so many frames, after which drawing fails or ends."""

        def frames() -> Iterator[Frame]:
            for index in range(count):
                self.num_drawn += 1
                yield np.full((64, 64, 3), index % 256, np.uint8)
            if error is not None:
                raise error

        return Clip(frames(), Fraction(4))

    def write(self, clip: Clip) -> None:
        """As the child does."""
        self.desk.write(
            clip, self.order, on_step=self._step, answer=self._answer, heed=lambda: None
        )

    def wait(self) -> Answers:
        """All answers, once there will be no more."""
        self.gate.set()
        self.desk.wait(lambda: None)
        return self.answers

    def _step(self, *_: object, previews: Sequence[Frame] = ()) -> None:
        del previews
        assert self.gate.wait(30)

    def _answer(self, order: RenderOrder, error: Exception | None) -> None:
        self.answers.append((order.job_id, error))

    @property
    def is_finished(self) -> bool:
        """Whether there is a manifest."""
        return AttemptFolder(self.order.folder).find_manifest() is not None


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def test_drawing_does_not_wait_for_the_encoder(script: Script) -> None:
    script.gate.clear()
    script.write(script.draw())
    assert script.num_drawn == NUM_FRAMES
    assert not script.answers
    assert script.wait() == [(script.order.job_id, None)]
    assert script.is_finished


def test_frames_wait_in_bounded_memory(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_WAITING_BYTES", 3 * 64 * 64 * 3)
    script.gate.clear()
    drawn: list[int] = []

    def heed() -> None:
        """Called after every frame, and while there is no room for the next one."""
        drawn.append(script.num_drawn)
        if drawn[-3:] == [drawn[-1]] * 3:
            script.gate.set()

    script.desk.write(
        script.draw(), script.order, on_step=script._step, answer=script._answer, heed=heed
    )
    stuck_at = next(count for count in drawn if drawn.count(count) > 2)
    # Three wait, one is in the encoder's hands and one in the renderer's.
    assert stuck_at == 5
    assert script.wait() == [(script.order.job_id, None)]


def test_an_error_of_drawing_is_the_renderers_to_answer(script: Script) -> None:
    with pytest.raises(MemoryError):
        script.write(script.draw(5, error=MemoryError()))
    assert script.wait() == []
    assert [path.name for path in script.order.folder.iterdir()] == []


def test_too_many_frames_are_noticed_while_they_are_drawn(script: Script) -> None:
    with pytest.raises(EncodeError, match="more than 12"):
        script.write(script.draw(100_000))
    assert script.num_drawn < 100_000
    assert script.wait() == []


def test_what_goes_wrong_later_is_answered_by_the_thread(script: Script) -> None:
    script.write(script.draw(NUM_FRAMES - 1))
    [(job_id, error)] = script.wait()
    assert job_id == script.order.job_id
    assert isinstance(error, EncodeError)
    assert not script.is_finished


def test_a_clip_is_canceled_while_it_is_drawn(script: Script) -> None:
    clip = script.draw()

    def frames() -> Iterator[Frame]:
        for index, frame in enumerate(clip.frames):
            if index == 5:
                script.desk.cancel(script.order.job_id)
            yield frame

    with pytest.raises(Canceled):
        script.write(replace(clip, frames=frames()))
    assert script.wait() == []
    assert not script.is_finished


def test_a_clip_is_canceled_after_it_was_handed_over(script: Script) -> None:
    script.gate.clear()
    script.write(script.draw())
    script.desk.cancel("another")
    script.desk.cancel(script.order.job_id)
    [(_, error)] = script.wait()
    assert isinstance(error, Canceled)
    assert not (script.order.folder / MANIFEST).exists()


def test_one_clip_is_written_at_a_time(script: Script, tmp_path: Path) -> None:
    script.gate.clear()
    script.write(script.draw())
    heeded = []

    def heed() -> None:
        heeded.append(len(script.answers))
        script.gate.set()

    second = replace(script.order, job_id="second")
    script.desk.write(script.draw(), second, on_step=script._step, answer=script._answer, heed=heed)
    assert heeded[0] == 0, "it waited, and was asked meanwhile"
    assert [job_id for job_id, _ in script.wait()] == [script.order.job_id, "second"]
