"""One batch in the child: every order of it is answered once, whatever becomes of the others.

together --a clip of its own--> being written --> finished, or failed by its own fault
together --the call failed, memory ran out--> alone --memory ran out--> alone, with less memory
any --canceled--> answered at once; without a wanted order the call stops within one step

The last clip may still be on its way to the disk when the next batch begins; see
`workers.writing`, whose thread then answers.
"""

import gc
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog

from gateway.protocol import MAX_PREVIEW_BYTES
from models.pipeline import (
    Canceled,
    Clip,
    Frame,
    LoadFailed,
    NamedRenderer,
    OutOfMemory,
    StepCallback,
    VideoPipeline,
)
from models.spec import Stage
from workers.failures import describe_failure
from workers.media.label import build_label
from workers.media.stills import encode_preview
from workers.messages import Cancel, Finished, Render, RenderOrder, Stepped
from workers.spool import AttemptFolder
from workers.talk import Talk
from workers.writing import Desk

log = structlog.stdlib.get_logger(__name__)

MAX_PREVIEWS = 12
"""Preview frames of a job that are passed on, however many its renderer makes."""

Trouble = tuple[RenderOrder, Exception]
"""An order without a clip, and why; another way of rendering it may do."""


class Rendering:
    """Renders `batch`, has its clips written at `desk` and tells the parent; for one use."""

    def __init__(self, batch: Render, talk: Talk, desk: Desk) -> None:
        self._card = batch.card
        self._talk = talk
        self._desk = desk
        self._open = {order.job_id: order for order in batch.orders}
        self._focus: Sequence[RenderOrder] = batch.orders
        self._num_previews = Counter[str]()

    def step(self, stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        """The step callback: report for those being worked on, and hear of cancels."""
        job_ids = tuple(order.job_id for order in self._focus if order.job_id in self._open)
        # A picture of fewer clips than are worked on names none of them.
        shown = zip(self._focus, previews, strict=True) if len(previews) == len(self._focus) else ()
        wanted = [(order, frame) for order, frame in shown if order.job_id in self._open]
        self._talk.say(Stepped(job_ids, stage, done, total, self._encode(wanted)))
        self.heed_cancels()

    def heed_cancels(self) -> None:
        """Answer what was canceled.

        Raises:
            Canceled: nobody waits for what is being worked on.
        """
        self._hear()
        if not any(order.job_id in self._open for order in self._focus):
            raise Canceled

    def _hear(self) -> None:
        for command in self._talk.heard():
            if isinstance(command, Cancel):
                # Before the answer, after which nothing may be heard of the job or written for it.
                self._desk.cancel(command.job_id)
                if command.job_id in self._open:
                    self._give_up(self._open[command.job_id], Canceled())

    def _encode(self, shown: Iterable[tuple[RenderOrder, Frame]]) -> dict[str, bytes]:
        """Preview frames as the parent hands them on."""
        encoded = {}
        for order, frame in shown:
            self._num_previews[order.job_id] += 1
            if self._num_previews[order.job_id] <= MAX_PREVIEWS:
                label = build_label(order.label.producer, order.label.produce_id)
                jpeg = encode_preview(frame, label, MAX_PREVIEW_BYTES)
                if jpeg is not None:
                    encoded[order.job_id] = jpeg
        return encoded

    def run(self, pipeline: VideoPipeline) -> None:
        """Render what is still wanted, together where that works.

        Raises:
            LoadFailed: what was loaded is gone; the open orders are for the parent to answer.
        """
        self._serve(pipeline, list(self._open.values()), low_memory=False)

    def _serve(
        self, pipeline: VideoPipeline, orders: Sequence[RenderOrder], *, low_memory: bool
    ) -> None:
        for order, error in self._render(pipeline, orders, low_memory=low_memory):
            if order.job_id not in self._open:
                continue
            is_about_memory = isinstance(error, OutOfMemory | MemoryError)
            has_preset = is_about_memory and bool(self._card.low_memory)
            if low_memory or not (has_preset or len(orders) > 1):
                self._give_up(order, error)
            else:
                log.warning("rendering_alone", job_id=order.job_id, low_memory=has_preset)
                self._serve(pipeline, [order], low_memory=has_preset)

    def _render(
        self, pipeline: VideoPipeline, orders: Sequence[RenderOrder], *, low_memory: bool
    ) -> list[Trouble]:
        """One call of the pipeline; those orders that it brought no answer for."""
        self._focus = orders
        troubles: list[Trouble] = []
        try:
            log.debug("batch_begun", jobs=[order.job_id for order in orders])
            clips = self._generate(pipeline, orders, low_memory=low_memory)
            log.debug("batch_sampled", jobs=[order.job_id for order in orders])
            for order, clip in zip(orders, clips, strict=True):
                self._focus = [order]
                if order.job_id not in self._open:
                    continue
                try:
                    self._write(clip, order)
                except (OutOfMemory, MemoryError) as error:
                    troubles.append((order, _without_memory(error)))
                except Exception as error:  # noqa: BLE001  # logged and answered there
                    self._give_up(order, error)
        except LoadFailed:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a renderer raises
            self._log(error, orders)
            known = [order for order, _ in troubles]
            rest = [order for order in orders if order.job_id in self._open and order not in known]
            troubles += [(order, _without_memory(error)) for order in rest]
        gc.collect()
        return troubles

    def _generate(
        self, pipeline: VideoPipeline, orders: Sequence[RenderOrder], *, low_memory: bool
    ) -> Sequence[Clip]:
        specs = [order.spec for order in orders]
        if isinstance(pipeline, NamedRenderer):
            names = [order.job_id for order in orders]
            return pipeline.generate_named(names, specs, self.step)
        # A card without a preset may belong to a renderer that does not know of it.
        preset = {"low_memory": True} if low_memory else {}
        return pipeline.generate(specs, self.step, **preset)

    def _write(self, clip: Clip, order: RenderOrder) -> None:
        """Draw the clip; the rest is the writing thread's, which answers for the order.

        Raises:
            Exception: there will be no such answer.
        """
        on_step = self._writing_step(order)
        self._desk.write(clip, order, on_step=on_step, answer=self._answer, heed=self.heed_cancels)
        log.debug("clip_drawn", jobs=[order.job_id])
        del self._open[order.job_id]
        if clip.check is not None:
            # It may want the device, and a renderer does one thing at a time.
            self._desk.wait(self._hear)

    def _writing_step(self, order: RenderOrder) -> StepCallback:
        def step(stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
            shown = self._encode((order, frame) for frame in previews)
            self._talk.say(Stepped((order.job_id,), stage, done, total, shown))

        return step

    def _answer(self, order: RenderOrder, error: Exception | None) -> None:
        """Answer for a clip whose writing has ended; in the writing thread."""
        if error is None:
            self._talk.say(Finished(order.job_id))
            # While it is uploaded: the gateway's copy is as good as one on this disk.
            AttemptFolder(order.folder).flush()
            return
        self._log(error, [order])
        failed = describe_failure(order, error)
        # Nobody is left here who would render it once more.
        is_about_memory = isinstance(error, OutOfMemory | MemoryError)
        self._talk.say(replace(failed, retryable=True) if is_about_memory else failed)

    def _give_up(self, order: RenderOrder, error: Exception) -> None:
        if self._open.pop(order.job_id, None) is not None:
            self._log(error, [order])
            self._talk.say(describe_failure(order, error))

    def _log(self, error: Exception, orders: Sequence[RenderOrder]) -> None:
        if not isinstance(error, Canceled):
            log.error("rendering_failed", jobs=[o.job_id for o in orders], exc_info=error)


def _without_memory(error: Exception) -> Exception:
    """`error` without its traceback, whose frames would keep the tensors of the failed call."""
    error.__context__ = error.__cause__ = None
    return error.with_traceback(None)
