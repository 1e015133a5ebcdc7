"""`./run check`: one failing tool hides no other."""

import os
from pathlib import Path

import pytest

from tests import check


def test_every_tool_runs_though_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for _name, (program, *_arguments) in check.checks():
        status = 1 if program == "mypy" else 0
        (tmp_path / program).write_text(f"#!/bin/sh\necho words of {program}\nexit {status}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert check.main() == 1
    out = capsys.readouterr().out
    total = len(check.checks())
    assert out.splitlines()[-1] == f"2 of {total} checks failed: mypy, mypy run"
    assert "words of mypy" in out
    assert "words of hadolint" not in out
    assert out.count("ok  ") == total - 2
