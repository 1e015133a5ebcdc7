"""The processes that share one clip: where each stands, and how they end together."""

import ctypes
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch
import torch.distributed as dist

from models.card import ModelCard
from models.pipeline import LoadFailed

MIN_RANKS = 2
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal this process gets when its parent ends."""


@dataclass(frozen=True)
class Rank:
    """Where one process stands among all."""

    number: int
    count: int
    device: str
    meeting_place: Path


def plan_ranks(card: ModelCard, device: str) -> list[Rank]:
    """As many ranks as the option `devices` says, on consecutive devices from `device` on.

    Raises:
        LoadFailed: there are too few devices.
    """
    count = int(card.options.get("devices", 0))
    if count < MIN_RANKS:
        raise LoadFailed(f"model {card.id}: options need devices, {MIN_RANKS} or more")
    first = torch.device(device)
    devices = [device] * count
    if first.type != "cpu":
        start = first.index or 0
        if start + count > torch.cuda.device_count():
            raise LoadFailed(
                f"model {card.id}: {count} devices from {device} on are needed, "
                f"there are {torch.cuda.device_count()} in all"
            )
        devices = [f"{first.type}:{start + offset}" for offset in range(count)]
    place = Path(tempfile.mkdtemp(prefix="reelgate-ranks-")) / "meet"
    return [Rank(number, count, each, place) for number, each in enumerate(devices)]


def end_ranks(others: list[tuple[SpawnProcess, Connection]], meeting_place: Path) -> None:
    """End the other ranks at once, leave their group, and clear the folder where they met."""
    while others:
        process, pipe = others.pop()
        process.kill()
        process.join()
        process.close()
        pipe.close()
    if dist.is_initialized():
        dist.destroy_process_group()
    shutil.rmtree(meeting_place.parent, ignore_errors=True)


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when rank 0 ends, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)
