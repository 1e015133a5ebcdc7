"""One job in a worker's child process, watched from outside: time, processor, memory."""

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from gateway.protocol import LabelFields, Rendered
from models.card import ModelCard
from models.spec import Stage, VideoSpec
from workers.child_process import ChildProcess
from workers.messages import (
    BatchEnded,
    Event,
    Failed,
    Load,
    Loaded,
    LoadFailed,
    Render,
    RenderOrder,
    Stepped,
)
from workers.spool import AttemptFolder

WATCH_S = 0.25
SILENT_S = 300.0
MIB = 2**20


@dataclass
class Watch:
    """What a process took, by stage: wall and processor seconds; memory at its highest.

    `pss_bytes` shares out what it maps together with others; `rss_bytes` counts it whole.
    """

    wall_s: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    pss_bytes: int = 0
    rss_bytes: int = 0

    @property
    def total_s(self) -> float:
        """From the order to the manifest."""
        return sum(self.wall_s.values())


@dataclass(frozen=True)
class Run:
    """A finished job: what it measured of itself, what it took."""

    rendered: Rendered
    took: Watch


def run_job(card: ModelCard, spec: VideoSpec, folder: Path) -> Run:
    """Render `spec` as a worker does, in a fresh child that has the model loaded.

    Raises:
        RuntimeError: the child failed.
    """
    # More than two cores would measure another machine than the one that is promised.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    child = ChildProcess(device="cpu", model_budget_bytes=2**33, log_level="error")
    try:
        child.give(Load(card))
        _hear(child, Loaded)
        attempt = AttemptFolder(folder)
        attempt.create()
        label = LabelFields(producer="bench", produce_id="bench")
        order = RenderOrder("bench", 1, spec, label, folder, time.monotonic(), 0.0)
        took = _watched(child, Render(card, (order,)))
        manifest = attempt.find_manifest()
        if manifest is None:
            raise RuntimeError("the job left no manifest")
        return Run(manifest.rendered, took)
    finally:
        child.kill()


def _watched(child: ChildProcess, render: Render) -> Watch:
    pid = child._process.pid
    assert pid is not None
    took, done = Watch(), threading.Event()
    memory = threading.Thread(target=_watch_memory, args=(pid, took, done))
    memory.start()
    stage, since, cpu = "speaking", time.monotonic(), _cpu_s(pid)
    child.give(render)
    try:
        while True:
            event = _hear(child, Stepped, BatchEnded)
            new = _stage_after(event, stage)
            if new != stage or isinstance(event, BatchEnded):
                now, used = time.monotonic(), _cpu_s(pid)
                took.wall_s[stage], took.cpu_s[stage] = now - since, used - cpu
                stage, since, cpu = new, now, used
            if isinstance(event, BatchEnded):
                took.rss_bytes = _status(pid, "VmHWM")
                return took
    finally:
        done.set()
        memory.join()


def _stage_after(event: Event, stage: str) -> str:
    """What the child does once it has said `event`."""
    if not isinstance(event, Stepped):
        return stage
    if event.stage == Stage.SPEAKING and event.done == event.total:
        return "drawing, encoding"
    if event.stage == Stage.RENDERING and event.done == event.total:
        return "stills, check"
    return stage


def _hear(child: ChildProcess, *kinds: type[Event]) -> Event:
    """The next event of these `kinds`; raises RuntimeError for bad news."""
    while True:
        event = child.next_event(SILENT_S)
        if event is None or isinstance(event, Failed | LoadFailed):
            raise RuntimeError(f"the child says {event}")
        if isinstance(event, kinds):
            return event


def _watch_memory(pid: int, took: Watch, done: threading.Event) -> None:
    while not done.wait(WATCH_S):
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
            pss = next(line for line in lines if line.startswith("Pss:"))
            took.pss_bytes = max(took.pss_bytes, int(pss.split()[1]) * 1024)


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{key}:")).split()[1]) * 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
