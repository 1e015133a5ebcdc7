"""Children die with us, are stopped in order, and leave a log that says why."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.local.processes import Child, ChildDiedError

Eventually = Callable[[Callable[[], bool]], None]
IsRunning = Callable[[int], bool]

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""


def test_a_child_dies_with_its_parent(
    tmp_path: Path, eventually: Eventually, is_running: IsRunning
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from gateway.local.processes import Child\n"
        f"child = Child('sleeper', {SLEEP!r}, log_path=Path({str(tmp_path / 'log')!r}))\n"
        "child.start(); print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        # The guard has become the command: from here on the kernel holds the promise.
        eventually(lambda: "guard.py" not in Path(f"/proc/{pid}/cmdline").read_text())
        assert is_running(pid)
        parent.kill()
    eventually(lambda: not is_running(pid))


def test_a_child_whose_parent_is_already_gone_does_not_start(tmp_path: Path) -> None:
    guard = Path(sys.modules[Child.__module__].__file__ or "").with_name("guard.py")
    nobody = "1"
    done = subprocess.run(
        [sys.executable, str(guard), nobody, "touch", str(tmp_path / "started")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "the parent ended first\n")
    assert not (tmp_path / "started").exists()


def test_a_signal_while_a_child_starts_waits_until_it_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_running: IsRunning
) -> None:
    spawn = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = spawn(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        # Long enough for another thread to be the one that it reaches.
        time.sleep(0.05)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    child = Child("sleeper", SLEEP, log_path=tmp_path / "log")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_over = threading.Event()
    other = threading.Thread(target=is_over.wait)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            child.start()
    finally:
        is_over.set()
        other.join()
        heard_before = signal.signal(signal.SIGTERM, before)
    assert heard_before is signal.default_int_handler
    assert is_running(child.pid)
    child.stop()
    assert child.poll() == -signal.SIGTERM, "the child itself hears the signal"


def test_stop_ends_a_deaf_child_and_its_children(
    tmp_path: Path, eventually: Eventually, is_running: IsRunning
) -> None:
    family = f"import subprocess; print(subprocess.Popen({SLEEP!r}).pid, flush=True)\n" + DEAF
    child = Child("deaf", [sys.executable, "-c", family], log_path=tmp_path / "log")
    child.start()
    eventually(lambda: "deaf" in child.log_tail())
    grandchild = int((tmp_path / "log").read_text().split()[0])
    child.stop(grace_s=0.2)
    assert child.poll() == -signal.SIGKILL
    eventually(lambda: not is_running(grandchild))


def test_stop_is_idempotent_and_harmless_before_the_start(tmp_path: Path) -> None:
    child = Child("sleeper", SLEEP, log_path=tmp_path / "log")
    child.stop()
    child.start()
    child.stop()
    child.stop()
    assert child.poll() == -signal.SIGTERM


def test_a_dead_child_can_be_started_again(tmp_path: Path) -> None:
    child = Child("sleeper", SLEEP, log_path=tmp_path / "log")
    child.start()
    first = child.pid
    os.kill(first, signal.SIGKILL)
    child.stop()
    child.start()
    try:
        assert child.pid != first
        child.check()
    finally:
        child.stop()


def test_the_error_of_a_dead_child_holds_its_last_words(
    tmp_path: Path, eventually: Eventually
) -> None:
    words = "print(*range(50), sep=chr(10)); raise SystemExit('no such database')"
    child = Child("gateway", [sys.executable, "-c", words], log_path=tmp_path / "gateway.log")
    child.start()
    eventually(lambda: child.poll() is not None)
    with pytest.raises(ChildDiedError) as caught:
        child.check()
    lines = str(caught.value).splitlines()
    assert lines[0] == f"gateway ended with status 1; the end of {tmp_path / 'gateway.log'}:"
    assert lines[-1] == "  no such database"
    assert len(lines) == 16
