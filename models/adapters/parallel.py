"""One clip on several devices: context parallelism of diffusers around another renderer.

The tokens of a clip are split over the ranks, which exchange them around every attention (Ulysses).
Rank 0 is this process; the others are processes of its own that do the same calls:

    load      every rank reads the weights onto a device of its own
    generate  every rank denoises; after each step rank 0 says whether to go on
    frames    rank 0 alone decodes

What fails on one rank alone leaves the others waiting for it, so then they are ended, and the
renderer has to be loaded anew.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from unittest.mock import patch
from weakref import finalize

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig
from diffusers.utils import logging as diffusers_logging

from models.adapters.family import DiffusersAdapter
from models.adapters.ranks import Rank, die_with_parent, end_ranks, plan_ranks
from models.card import ModelCard, SpecError
from models.cardparts import Enhancement
from models.pipeline import (
    Canceled,
    Clip,
    Frame,
    InputRefused,
    LoadFailed,
    StepCallback,
    VideoPipeline,
)
from models.registry import create_pipeline
from models.spec import Stage, VideoSpec

OPTIONS = {"renderer", "devices"}
UNSPLIT = ("cache", "second_pass", "distilled", "compile")
"""Keys of modes that work on whole transformers, or on others than those that are split."""

ANSWER_S = 60.0
"""How long a rank may take to say that it is done, once rank 0 is."""

SAME_EVERYWHERE = (Canceled, SpecError, InputRefused)
"""Errors that all ranks meet at the same point, and stay in step over."""


class ContextParallel:
    """Renders with the card's option `renderer` on as many consecutive `devices`.

    On a CPU all ranks share it: slower than one, and the same frames to rounding.
    """

    def __init__(self) -> None:
        self._inner: VideoPipeline | None = None
        self._others: list[tuple[SpawnProcess, Connection]] = []
        self._end: Callable[[], object] = lambda: None

    @property
    def memory_bytes(self) -> int:
        """The weights on the first device; every other holds as much."""
        return self._inner.memory_bytes if self._inner else 0

    def load(self, card: ModelCard, device: str) -> None:
        """Start the other ranks and load everywhere.

        Raises:
            LoadFailed: the options are wrong, there are too few devices, or a rank does not load.
        """
        inner_card = _inner_card(card)
        _check_modes(_create(inner_card), inner_card)
        ranks = plan_ranks(card, device)
        # Nobody says when a renderer is no longer needed.
        self._end = finalize(self, end_ranks, self._others, ranks[0].meeting_place)
        context = multiprocessing.get_context("spawn")
        for rank in ranks[1:]:
            ours, theirs = context.Pipe()
            process = context.Process(target=_follow, args=(theirs, rank, inner_card, os.getpid()))
            process.start()
            theirs.close()
            self._others.append((process, ours))
        try:
            self._inner = _load_rank(inner_card, ranks[0])
            self._hear_all("load")
        except BaseException:
            self._give_up()
            raise

    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> Sequence[Clip]:
        """Denoise on all ranks; see the renderer inside.

        Raises:
            LoadFailed: a rank was lost.
        """
        if self._inner is None:
            raise LoadFailed("the other ranks are gone")
        step = _Step(on_step)
        try:
            for _, pipe in self._others:
                pipe.send((list(specs), low_memory))
            clips = self._inner.generate(specs, step, **_preset(low_memory=low_memory))
        except SAME_EVERYWHERE:
            self._hear_all("cancel")
            raise
        except BaseException:
            self._give_up()
            raise
        step.is_alone = True
        self._hear_all("denoise")
        return clips

    def _hear_all(self, work: str) -> None:
        for number, (_, pipe) in enumerate(self._others, start=1):
            try:
                answer = pipe.recv() if pipe.poll(ANSWER_S) else "nothing"
            except (EOFError, OSError):
                answer = "nothing: it ended"
            if answer is not None:
                self._give_up()
                raise LoadFailed(f"rank {number} did not {work}; it said {answer}")

    def _give_up(self) -> None:
        self._inner = None
        self._end()


class _Step:
    """The step callback of rank 0: the others hear whether to go on, until `is_alone`."""

    def __init__(self, on_step: StepCallback) -> None:
        self._on_step = on_step
        self.is_alone = False

    def __call__(
        self, stage: Stage, done: int, total: int, /, previews: Sequence[Frame] = ()
    ) -> None:
        if self.is_alone:
            self._on_step(stage, done, total, previews)
            return
        is_stopped = torch.ones(1)
        try:
            self._on_step(stage, done, total, previews)
            is_stopped.zero_()
        finally:
            dist.broadcast(is_stopped, 0)


def _heed_rank_0(_stage: Stage, _done: int, _total: int, /, previews: Sequence[Frame] = ()) -> None:
    """The step callback of every other rank."""
    del previews
    is_stopped = torch.empty(1)
    dist.broadcast(is_stopped, 0)
    if is_stopped.item():
        raise Canceled


def _follow(pipe: Connection, rank: Rank, card: ModelCard, parent_pid: int) -> None:
    """A rank of its own: load, then do what rank 0 does until it ends."""
    die_with_parent(parent_pid)
    # Signals of a whole group, too: when to stop is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        inner = _load_rank(card, rank)
    except Exception as error:  # noqa: BLE001 -- rank 0 tells
        pipe.send(f"{type(error).__name__}: {error}")
        return
    pipe.send(None)
    with suppress(EOFError):
        while True:
            specs, low_memory = pipe.recv()
            with suppress(*SAME_EVERYWHERE):
                inner.generate(specs, _heed_rank_0, **_preset(low_memory=low_memory))
            pipe.send(None)


def _load_rank(card: ModelCard, rank: Rank) -> VideoPipeline:
    """The renderer of one rank, its transformers split with those of the others."""
    is_on_cpu = torch.device(rank.device).type == "cpu"
    if not is_on_cpu:
        torch.cuda.set_device(rank.device)
    if not dist.is_initialized():
        dist.init_process_group(
            "gloo" if is_on_cpu else "cpu:gloo,cuda:nccl",
            init_method=rank.meeting_place.as_uri(),
            rank=rank.number,
            world_size=rank.count,
        )
    inner = _create(card)
    inner.load(card, rank.device)
    if unable := [part for part in inner.transformers if part._cp_plan is None]:  # noqa: SLF001
        raise LoadFailed(f"model {card.id}: a {type(unable[0]).__name__} cannot be split")
    # "Anything": head counts and token counts need not divide by the number of ranks.
    config = ContextParallelConfig(ulysses_degree=rank.count, ulysses_anything=True)
    diffusers_logging.set_verbosity_error()
    for transformer in inner.transformers:
        # diffusers 0.42 divides by the number of accelerators, which is 0 beside a CPU.
        with patch.object(torch.accelerator, "device_count", lambda: rank.count):
            transformer.enable_parallelism(config=config)
    return inner


def _create(card: ModelCard) -> DiffusersAdapter:
    # Enhancement goes round all ranks together, not round each.
    inner = create_pipeline(card.model_copy(update={"enhance": Enhancement()}))
    if not isinstance(inner, DiffusersAdapter):
        raise LoadFailed(f"model {card.id}: renderer {card.adapter} is not over diffusers")
    return inner


def _check_modes(inner: DiffusersAdapter, card: ModelCard) -> None:
    """Refuse what ranks that see a part of the clip would compute wrongly, or not together.

    Raises:
        LoadFailed: names the family, or the mode and its key.
    """
    if not inner.can_be_split:
        raise LoadFailed(f"model {card.id}: renderer {card.adapter} cannot be split over devices")
    for name, mode in card.modes.items():
        if found := [key for key in UNSPLIT if getattr(mode, key) is not None]:
            message = f"model {card.id}: mode {name}: {found[0]} and parallel do not go together"
            raise LoadFailed(message)


def _inner_card(card: ModelCard) -> ModelCard:
    options = {name: value for name, value in card.options.items() if name not in OPTIONS}
    adapter = str(card.options.get("renderer", ""))
    if not adapter:
        raise LoadFailed(f"model {card.id}: options need renderer, such as wan")
    return card.model_copy(update={"adapter": adapter, "options": options})


def _preset(*, low_memory: bool) -> dict[str, bool]:
    return {"low_memory": True} if low_memory else {}
