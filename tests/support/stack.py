"""The whole system with the small model, as `reelgate up` runs it: what dies is started again."""

import re
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openai import OpenAI
from openai.types import Video

from gateway.local.processes import Restarter
from gateway.local.stack import LocalStack
from tests.conftest import ROOT

# A worker that was killed loads its model anew: seconds on a free machine, minutes on a busy one.
PATIENCE_S = 240.0
_LOOK_EVERY_S = 0.1


@contextmanager
def running_stack(data_dir: Path) -> Iterator[LocalStack]:
    """Gateway, Valkey and one worker under a supervisor."""
    with LocalStack(data_dir) as stack:
        restarter = Restarter(stack.children, lambda _line: None, first_delay_s=0.2)
        done = threading.Event()

        def watch() -> None:
            while not done.wait(_LOOK_EVERY_S):
                restarter.step(time.monotonic())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield stack
        finally:
            done.set()
            watcher.join()


@contextmanager
def sdk_of(stack: LocalStack) -> Iterator[OpenAI]:
    """The official SDK with the stack's key."""
    with warnings.catch_warnings():
        # Its video methods are deprecated since the service they were made for has ended.
        warnings.simplefilter("ignore", DeprecationWarning)
        with OpenAI(base_url=f"{stack.base_url}/v1", api_key=stack.api_key) as client:
            yield client


def wait_for(client: OpenAI, video_id: str, is_there: Callable[[Video], bool]) -> Video:
    """The video once `is_there` says yes; fails after `PATIENCE_S`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        video = client.videos.retrieve(video_id)
        if is_there(video):
            return video
        assert time.monotonic() < deadline, video
        time.sleep(0.05)


def is_over(video: Video) -> bool:
    """Whether the job has ended."""
    return video.status in ("completed", "failed")


def pid_of(stack: LocalStack, name: str) -> int:
    """Process id of a part: `valkey`, `gateway`, `worker`, or `child`, which owns the device."""
    parts = {child.name: child.pid for child in stack.children}
    if name != "child":
        return parts[name]
    renderer = find_renderer(parts["worker"])
    assert renderer is not None
    return renderer


def find_renderer(worker_pid: int) -> int | None:
    """Process id of the child of a worker, which owns the device; None if it has none now."""
    task = Path(f"/proc/{worker_pid}/task/{worker_pid}/children")
    try:
        renderers = [pid for pid in task.read_text().split() if not _is_tracker(pid)]
    except OSError:
        # Somebody died while we looked.
        return None
    return int(renderers[0]) if renderers else None


def roomy_configs(folder: Path) -> Path:
    """The shipped configuration with points for as many videos as a test likes."""
    shutil.copytree(ROOT / "configs", folder)
    plans = folder / "plans.yaml"
    text = plans.read_text(encoding="utf-8")
    for narrow, roomy in (
        (r"daily_points: \d+", "daily_points: 10000"),
        (r"max_jobs_per_day: \d+", "max_jobs_per_day: 1000"),
        (r"max_running: \d+", "max_running: 10"),
        (r"max_queued: \d+", "max_queued: 100"),
        (r"modes: \[standard, fast\]", "modes: [standard, fast, pro]"),
    ):
        text = re.sub(narrow, roomy, text)
    plans.write_text(text, encoding="utf-8")
    return folder


def _is_tracker(pid: str) -> bool:
    """Whether it is the helper that Python's multiprocessing starts beside a spawned child."""
    return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
