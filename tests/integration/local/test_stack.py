"""The stack around a gateway that is played by a small script, and a queue that is real.

The script answers `/readyz`, makes a key, and writes its environment where the test finds it.
"""

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.local import stack as stack_module
from gateway.local.probe import free_port, get_status
from gateway.local.processes import ChildDiedError, LocalError
from gateway.local.stack import LocalStack
from gateway.local.valkey import answers

Eventually = Callable[[Callable[[], bool]], None]
IsRunning = Callable[[int], bool]

PLAYER = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

storage = Path(os.environ["REELGATE_STORAGE_DIR"])
storage.mkdir(exist_ok=True)
what = "-".join(sys.argv[1:3])
seen = dict(os.environ) if what != "worker" else os.getpid()
(storage / what).write_text(json.dumps(seen))

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
        self.wfile.write(b'{"status": "ready"}')
    def log_message(self, *_):
        pass

if what == "serve---migrate":
    if os.environ.get("BROKEN"):
        sys.exit("no such table: account")
    HTTPServer(("127.0.0.1", int(os.environ["REELGATE_PORT"])), Ready).serve_forever()
elif what == "worker":
    time.sleep(60)
else:
    print(json.dumps({"key": f"rg_{os.getpid()}", "account_id": "acct_1"}))
"""


@pytest.fixture(autouse=True)
def player(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `reelgate` command is the script above; no server of the machine is used."""
    (tmp_path / "player.py").write_text(PLAYER)
    command = [sys.executable, str(tmp_path / "player.py")]
    monkeypatch.setattr(stack_module, "_reelgate", lambda: command)
    monkeypatch.delenv("REDIS_URL", raising=False)


def test_everything_runs_inside_and_nothing_after(tmp_path: Path, is_running: IsRunning) -> None:
    with LocalStack(tmp_path / "data") as stack:
        pids = [child.pid for child in stack.children]
        assert [child.name for child in stack.children] == ["valkey", "gateway", "worker"]
        assert all(map(is_running, pids))
        port = int(stack.base_url.rpartition(":")[2])
        assert get_status("127.0.0.1", port, "/readyz") == (200, '{"status": "ready"}')
    assert not any(map(is_running, pids))


def test_the_parts_get_what_they_need_to_find_each_other(tmp_path: Path) -> None:
    with LocalStack(tmp_path / "data") as stack:
        seen = json.loads((tmp_path / "data" / "files" / "serve---migrate").read_text())
        assert seen["REELGATE_GATEWAY_URL"] == stack.base_url
        assert answers(seen["REELGATE_REDIS_URL"])
        assert seen["REELGATE_DATABASE_URL"] == f"sqlite:///{tmp_path / 'data' / 'reelgate.db'}"
        assert len(seen["REELGATE_SECRET"]) >= 32
        assert (Path(seen["REELGATE_CONFIG_DIR"]) / "models.yaml").is_file()


def test_secrets_and_key_are_made_once_and_hidden(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secrets.json"
    with LocalStack(tmp_path / "data") as stack:
        key, first = stack.api_key, json.loads(path.read_text())
    with LocalStack(tmp_path / "data") as stack:
        assert stack.api_key == key
    assert json.loads(path.read_text()) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_operator_finds_the_stack(tmp_path: Path) -> None:
    with LocalStack(tmp_path / "my data") as stack:
        seen = json.loads((tmp_path / "my data" / "files" / "serve---migrate").read_text())
        assert stat.S_IMODE(stack.operator_env.stat().st_mode) == 0o600
        shell = f". {shlex.quote(str(stack.operator_env))} && env -0"
        env = subprocess.run(
            ["/bin/sh", "-c", shell], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True
        ).stdout.decode()
    found = dict(line.split("=", 1) for line in env.split("\0") if line)
    names = {name for name in found if name.startswith("REELGATE_")}
    assert {"REELGATE_DATABASE_URL", "REELGATE_REDIS_URL", "REELGATE_SECRET"} <= names
    assert all(found[name] == seen[name] for name in names)
    assert found["PATH"].startswith(str(Path(sys.executable).parent))


def test_a_server_of_ones_own_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/5")
    with LocalStack(tmp_path / "data") as stack:
        seen = json.loads((tmp_path / "data" / "files" / "serve---migrate").read_text())
        assert seen["REELGATE_REDIS_URL"] == "redis://127.0.0.1:1/5"
        assert [child.name for child in stack.children] == ["gateway", "worker"]


def test_a_gateway_that_ends_shows_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_running: IsRunning
) -> None:
    monkeypatch.setenv("BROKEN", "1")
    stack = LocalStack(tmp_path / "data")
    with pytest.raises(ChildDiedError, match="gateway ended with status 1") as caught, stack:
        pass
    assert str(caught.value).endswith("  no such table: account")
    assert not is_running(stack.children[0].pid), "the queue is stopped too"


def test_a_worker_that_dies_later_is_noticed(tmp_path: Path, eventually: Eventually) -> None:
    with LocalStack(tmp_path / "data") as stack:
        stack.check()
        worker = stack.children[-1]
        os.kill(worker.pid, signal.SIGKILL)
        eventually(lambda: worker.poll() is not None)
        with pytest.raises(ChildDiedError, match="worker ended with status -9"):
            stack.check()


def test_a_data_folder_serves_one_stack(tmp_path: Path) -> None:
    with (
        LocalStack(tmp_path / "data"),
        pytest.raises(LocalError, match="is in use by another `reelgate up`"),
        LocalStack(tmp_path / "data"),
    ):
        pass


def test_nothing_outlives_a_stack_that_is_killed(
    tmp_path: Path, eventually: Eventually, is_running: IsRunning
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from gateway.local import stack\n"
        f"stack._reelgate = lambda: [sys.executable, {str(tmp_path / 'player.py')!r}]\n"
        f"with stack.LocalStack(Path({str(tmp_path / 'data')!r})) as running:\n"
        "    print(*(child.pid for child in running.children), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        parent.kill()
    eventually(lambda: not any(map(is_running, pids)))


def test_up_names_a_taken_port(tmp_path: Path) -> None:
    with LocalStack(tmp_path / "data") as stack:
        port = stack.base_url.rpartition(":")[2]
        done = CliRunner().invoke(app, ["up", "--port", port, "--data", str(tmp_path / "other")])
    assert done.exit_code == 1
    assert done.stderr == f"up: port {port} on 127.0.0.1 is taken; choose another one with --port\n"


def worker_pid(data: Path) -> int:
    """What the played worker wrote last; 0 before it has."""
    path = data / "files" / "worker"
    return int((path.read_text() if path.exists() else "") or 0)


def test_up_brings_the_dead_back_until_it_is_interrupted(
    tmp_path: Path, eventually: Eventually, is_running: IsRunning
) -> None:
    script = (
        "import signal, sys; from gateway.local import stack; from gateway.cli.main import main\n"
        # A suite that runs in the background of a shell is deaf to it, and so are its children.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"stack._reelgate = lambda: [sys.executable, {str(tmp_path / 'player.py')!r}]\n"
        "main()"
    )
    data, log = tmp_path / "data", tmp_path / "up.log"
    arguments = ["up", "--data", str(data), "--port", str(free_port())]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments], stdout=out, stderr=out
        )
    with process:
        try:
            eventually(lambda: "Ctrl-C stops everything." in log.read_text())
            eventually(lambda: worker_pid(data) > 0)
            first = worker_pid(data)
            os.kill(first, signal.SIGKILL)
            eventually(lambda: worker_pid(data) not in (0, first))
            process.send_signal(signal.SIGINT)
            process.wait(60)
        finally:
            process.kill()
    said = log.read_text()
    assert process.returncode == 0
    assert "worker ended with status -9; again in 1 s" in said
    assert "curl http://127.0.0.1:" in said
    assert said.endswith("everything is stopped\n")
    assert not is_running(worker_pid(data))


def test_health_asks_the_gateway(tmp_path: Path) -> None:
    with LocalStack(tmp_path / "data") as stack:
        port = stack.base_url.rpartition(":")[2]
        ready = CliRunner().invoke(app, ["health"], env={"REELGATE_PORT": port})
    gone = CliRunner().invoke(app, ["health"], env={"REELGATE_PORT": port})
    assert (ready.exit_code, ready.stdout) == (0, '{"status": "ready"}\n')
    assert gone.exit_code == 1
    assert gone.stderr.startswith(f"health: nobody answers at 127.0.0.1:{port}")
