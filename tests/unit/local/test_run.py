"""The starter: what it installs when, and what it says where it cannot.

Each test has a copy of `run` in a folder of its own; pip and `venv` are played by recorders, since
a real install takes a minute.
"""

import errno
import importlib.machinery
import importlib.util
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

RUN = Path(__file__).parents[3] / "run"


def load(path: Path) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("starter", str(path))
    spec = importlib.util.spec_from_loader("starter", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[ModuleType]:
    """The module `run` in a folder with pins of its own; SIGTERM is put back afterwards."""
    shutil.copy(RUN, tmp_path / "run")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "constraints.txt").write_text("rq==2.12.0\n")
    before = signal.getsignal(signal.SIGTERM)
    yield load(tmp_path / "run")
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def steps(starter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the expensive steps, and leaves behind what they would."""
    done: list[str] = []

    def remake(venv: Path) -> None:
        done.append("remake")
        shutil.rmtree(venv, ignore_errors=True)
        (venv / "bin").mkdir(parents=True)
        (venv / "pyvenv.cfg").touch()
        (venv / "bin" / "python").symlink_to(sys.executable)

    def install(_venv: Path, extras: frozenset[str], _lock: int) -> None:
        done.append(f"install {','.join(sorted(extras))}")

    monkeypatch.setattr(starter, "remake", remake)
    monkeypatch.setattr(starter, "install", install)
    return done


def prepare(starter: ModuleType, *extras: str) -> None:
    starter.prepare(starter.VENV, frozenset(extras))


def test_a_second_start_installs_nothing(starter: ModuleType, steps: list[str]) -> None:
    prepare(starter, "server")
    prepare(starter, "server")
    assert steps == ["remake", "install server"]


def test_a_command_that_needs_more_adds_to_what_is_there(
    starter: ModuleType, steps: list[str]
) -> None:
    prepare(starter, "server")
    prepare(starter, "server", "dev")
    prepare(starter, "server")
    assert steps == ["remake", "install server", "install dev,server"]


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_changed_pins_install_again_into_the_same_environment(
    starter: ModuleType, steps: list[str], changed: str
) -> None:
    prepare(starter, "server", "dev")
    (starter.ROOT / changed).write_text("# other\n")
    prepare(starter, "server")
    assert steps == ["remake", "install dev,server", "install dev,server"]


def test_an_install_that_was_cut_off_makes_the_environment_anew(
    starter: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(starter, "install", cut_off)
        with pytest.raises(KeyboardInterrupt):
            prepare(starter, "server")
    prepare(starter, "server")
    assert steps == ["remake", "remake", "install server"]


def test_another_python_makes_the_environment_anew(
    starter: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(starter, "server")
    monkeypatch.setattr(starter, "home", lambda: "elsewhere python3.99")
    prepare(starter, "server")
    assert steps == ["remake", "install server"] * 2


def test_a_python_that_a_system_upgrade_removed_makes_the_environment_anew(
    starter: ModuleType, steps: list[str]
) -> None:
    prepare(starter, "server")
    python = starter.python_of(starter.VENV)
    python.unlink()
    python.symlink_to("/nowhere/python3")
    prepare(starter, "server")
    assert steps == ["remake", "install server"] * 2


@pytest.mark.parametrize("left", ["", "{", "[]", '{"is_ready": true}'])
def test_an_unreadable_stamp_counts_as_none(
    starter: ModuleType, steps: list[str], left: str
) -> None:
    starter.VENV.mkdir()
    (starter.VENV / "reelgate.json").write_text(left)
    prepare(starter, "server")
    assert steps == ["remake", "install server"]


def test_a_working_environment_of_somebody_else_is_kept(
    starter: ModuleType, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    starter.remake(starter.VENV)
    monkeypatch.setattr(starter, "output_of", lambda _command: "{} {}".format(*sys.version_info))
    prepare(starter, "server")
    assert steps == ["remake", "install server"], "the one remake is the test's own"


def test_two_starters_install_once(starter: ModuleType, tmp_path: Path) -> None:
    """Both are real processes; the second waits for the first and finds its work done."""
    (tmp_path / "slow.py").write_text(
        "import sys, time\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "import test_run\n"
        "from pathlib import Path\n"
        f"run = test_run.load(Path({str(tmp_path / 'run')!r}))\n"
        "def remake(venv):\n"
        "    (venv / 'bin').mkdir(parents=True)\n"
        "    (venv / 'pyvenv.cfg').touch()\n"
        "    (venv / 'bin' / 'python').symlink_to(sys.executable)\n"
        "def install(*_):\n"
        "    print('installing', flush=True)\n"
        "    time.sleep(1)\n"
        "run.remake, run.install = remake, install\n"
        "run.prepare(run.VENV, frozenset({'server'}))\n"
    )
    both = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "slow.py")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    printed = "".join(process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert printed == "installing\n"


def bring_assets(starter: ModuleType, monkeypatch: pytest.MonkeyPatch, status: int) -> list[str]:
    """Have assets brought twice by a `reelgate` that exits with `status`; answers its calls."""
    calls = starter.ROOT / "calls"
    program = starter.VENV / "bin" / "reelgate"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho "$*" >>{calls}\necho no network\nexit {status}\n')
    program.chmod(0o755)
    manifest = starter.ROOT / "models" / "assets" / "manifest.py"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("PACKAGES = ()\n")
    monkeypatch.setenv("REELGATE_ASSETS_DIR", str(starter.ROOT))
    starter.bring_assets(starter.VENV)
    starter.bring_assets(starter.VENV)
    called: str = calls.read_text()
    return called.splitlines()


def test_assets_are_fetched_once(starter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bring_assets(starter, monkeypatch, 0) == ["assets fetch"]
    (starter.ROOT / "models" / "assets" / "manifest.py").write_text("PACKAGES = (1,)\n")
    starter.bring_assets(starter.VENV)
    assert (starter.ROOT / "calls").read_text().count("assets fetch") == 2


def test_assets_that_cannot_be_fetched_are_a_warning_and_tried_again(
    starter: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring_assets(starter, monkeypatch, 1) == ["assets fetch"] * 2
    said = capsys.readouterr().err
    assert "no network" in said
    assert "digital humans will be missing" in said


def test_an_old_python_gets_one_line(starter: ModuleType) -> None:
    with pytest.raises(starter.StartError, match=r"needs Python 3.11 or newer; .* is 3.9.2\.$"):
        starter.check_python((3, 9, 2, "final", 0))
    starter.check_python((3, 11, 0, "final", 0))


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_venv_names_the_package(
    starter: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    missing: str,
) -> None:
    monkeypatch.setattr(
        starter.importlib.util, "find_spec", lambda name: None if name == missing else name
    )
    assert starter.main(["demo"]) == 1
    assert "sudo apt-get install -y python3-venv" in capsys.readouterr().err.splitlines()
    assert not starter.VENV.exists()


def test_a_disk_that_is_nearly_full_gets_one_line(
    starter: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        starter.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=1_200_000_000)
    )
    assert starter.main(["demo"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "1.2 GB are free" in line
    assert "needs 3 GB" in line


def test_a_disk_that_fills_up_gets_one_line(
    starter: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(_venv: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/.venv")

    monkeypatch.setattr(starter, "remake", fill)
    assert starter.main(["demo"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no space is left for /data/.venv; installing needs 3 GB" in line


@pytest.mark.parametrize(
    ("last_words", "advice"),
    [
        ("ERROR: No matching distribution found for rq", "Check the network"),
        ("OSError: [Errno 28] No space left on device", "the disk ran full"),
    ],
)
def test_a_failed_pip_shows_its_last_lines_and_what_to_do(
    starter: ModuleType,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    last_words: str,
    advice: str,
) -> None:
    log = tmp_path / "install.log"
    script = f"print('Collecting', *range(99), sep=chr(10)); raise SystemExit({last_words!r})"
    with log.open("rb" if log.exists() else "wb") as held:
        status = starter.run_slowly([sys.executable, "-c", script], log, held.fileno())
    assert status == 1
    assert advice in starter.why_pip_failed(log)
    shown = capsys.readouterr().err.splitlines()
    assert shown[-1] == last_words
    assert len(shown) == starter.LOG_TAIL_LINES


def test_a_slow_pip_says_what_it_does(
    starter: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(starter, "HEARTBEAT_S", 0.05)
    script = "import time; print('Collecting rq (from x)', flush=True); time.sleep(1)"
    with (starter.ROOT / "run").open("rb") as lock:
        log = starter.ROOT / "log"
        assert starter.run_slowly([sys.executable, "-c", script], log, lock.fileno()) == 0
    assert capsys.readouterr().err.splitlines()[-1].endswith(" s: Collecting rq")


@pytest.mark.parametrize("words", [["film"], ["bench"], ["bench", "film"]])
def test_an_unknown_command_is_a_usage_error(
    starter: ModuleType, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert starter.main(words) == 2
    assert capsys.readouterr().err.startswith("usage: ./run")


@pytest.mark.parametrize("words", [[], ["help"], ["--help"]])
def test_help_installs_nothing(
    starter: ModuleType, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert starter.main(words) == 0
    assert capsys.readouterr().out.startswith("usage: ./run")
    assert not starter.VENV.exists()
