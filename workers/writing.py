"""Clips on their way to the disk: a thread encodes one while the device makes the next.

drawing --every frame handed over--> alone: the thread answers for the order, whatever happens
drawing --the file could not be written--> over: `put` or `hand_over` raises why
drawing --stopped--> over, nothing is left but what a next attempt deletes
alone --canceled--> answered at the next frame

One clip at a time, and its frames wait in bounded memory, so a fast renderer is slowed down to the
encoder rather than filling the machine.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from models.pipeline import Canceled, Clip, Frame, StepCallback
from models.spec import Stage
from workers.clips import write_clip
from workers.messages import RenderOrder

MAX_WAITING_BYTES = 512 << 20
"""Frames that wait for the encoder: five seconds of 720p at 24 fps are 335 MB."""

TICK_S = 0.1
MIN_STEP_S = 0.05
"""Between two steps that are passed on; a small clip has a thousand frames a second."""

Heed = Callable[[], None]
"""Asked several times a second while something is waited for; may raise `Canceled`."""

Answer = Callable[[RenderOrder, Exception | None], None]
"""Called once for an order whose clip was handed over: what went wrong, or None."""


class Writing:
    """One clip and the thread that writes it; the methods are for the thread that draws."""

    def __init__(
        self, clip: Clip, order: RenderOrder, on_step: StepCallback, answer: Answer
    ) -> None:
        self.job_id = order.job_id
        self._on_step = on_step
        self._answer = answer
        self._frames: deque[Frame] = deque()
        self._num_bytes = 0
        self._changed = threading.Condition()
        self._is_alone = False
        self._is_canceled = False
        self._error: Exception | None = None
        self._next_step_at = float("-inf")
        self._thread = threading.Thread(
            target=self._run, args=(clip, order), name="writing", daemon=True
        )
        self._thread.start()

    def put(self, frame: Frame, heed: Heed) -> None:
        """Hand over the next frame, after waiting for room. It must not be changed any more.

        Raises:
            Exception: what has ended the writing, or what `heed` raises.
        """
        while not self._takes(frame):
            heed()

    def hand_over(self) -> None:
        """Say that this was the last frame: from now on the thread answers for the order.

        Raises:
            Exception: what has ended the writing before; no answer was given.
        """
        with self._changed:
            self._raise_error()
            self._is_alone = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Nobody waits for the clip any more.

        One that was handed over is answered soon, as finished where it was nearly done. Of one that
        was not, the thread is gone when this returns.
        """
        with self._changed:
            self._is_canceled = True
            self._changed.notify_all()
        if not self._is_alone:
            self._thread.join()

    def wait(self, heed: Heed) -> None:
        """Wait until the clip that was handed over is answered.

        Raises:
            Exception: what `heed` raises.
        """
        while self._thread.is_alive():
            self._thread.join(TICK_S)
            heed()

    def _takes(self, frame: Frame) -> bool:
        with self._changed:
            self._raise_error()
            if self._frames and self._num_bytes + frame.nbytes > MAX_WAITING_BYTES:
                self._changed.wait(TICK_S)
                return False
            self._frames.append(frame)
            self._num_bytes += frame.nbytes
            self._changed.notify_all()
            return True

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self, clip: Clip, order: RenderOrder) -> None:
        error: Exception | None = None
        try:
            write_clip(replace(clip, frames=self._taken()), order, self._step)
        except Exception as met:  # noqa: BLE001  # answered or raised where frames are drawn
            error = met
        with self._changed:
            self._error = error
            self._frames.clear()
            is_alone = self._is_alone
            self._changed.notify_all()
        if is_alone:
            self._answer(order, error)

    def _taken(self) -> Iterator[Frame]:
        while (frame := self._take()) is not None:
            yield frame

    def _take(self) -> Frame | None:
        """The next frame, None after the last."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._is_alone or self._is_canceled)
            self._raise_if_canceled()
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._num_bytes -= frame.nbytes
            self._changed.notify_all()
            return frame

    def _step(self, stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        now = time.monotonic()
        if previews or done == total or now >= self._next_step_at:
            self._next_step_at = now + MIN_STEP_S
            self._on_step(stage, done, total, previews)
        self._raise_if_canceled()

    def _raise_if_canceled(self) -> None:
        if self._is_canceled:
            raise Canceled


class Desk:
    """Where clips are written, one after the other; for the thread that draws."""

    def __init__(self) -> None:
        self._last: Writing | None = None

    def write(
        self,
        clip: Clip,
        order: RenderOrder,
        *,
        on_step: StepCallback,
        answer: Answer,
        heed: Heed,
    ) -> None:
        """Draw the frames of `clip` while a thread encodes them, then leave the rest to it.

        Waits for the clip before, so that one at most is on its way while a next one is rendered.

        Args:
            clip: its frames are read here, once.
            order: where the files go.
            on_step: called by the writing thread with the frames that are encoded.
            answer: called by that thread, once, if this returns; never if it raises.
            heed: asked while frames are drawn and waited for.

        Raises:
            Exception: what drawing, encoding or `heed` raised; the order is not answered.
        """
        self.wait(heed)
        writing = self._last = Writing(clip, order, on_step, answer)
        try:
            for frame in clip.frames:
                writing.put(frame, heed)
                heed()
            writing.hand_over()
        except BaseException:
            writing.cancel()
            self._last = None
            raise

    def wait(self, heed: Heed) -> None:
        """Wait until the last clip that was handed over is answered.

        Raises:
            Exception: what `heed` raises.
        """
        if self._last is not None:
            self._last.wait(heed)
            self._last = None

    def cancel(self, job_id: str) -> None:
        """Stop writing this clip, as `Writing.cancel`; nothing happens if it is not being written.

        While it is drawn, whoever draws it hears of it by `Canceled`.
        """
        if self._last is not None and self._last.job_id == job_id:
            self._last.cancel()
