"""YAML 1.2 into values, and the line of every mistake."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from models.configfile import ConfigError, load_yaml_as


class Rule(BaseModel):
    """One thing in a list."""

    model_config = ConfigDict(extra="forbid")
    name: str
    limit: int = 0


class Rules(BaseModel):
    """A whole file."""

    model_config = ConfigDict(extra="forbid")
    rules: list[Rule] = []
    at: str = ""


def _problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        load_yaml_as(path, Rules)
    return [problem.removeprefix(str(path)) for problem in failure.value.problems]


def test_plain_words_and_clock_times_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("at: 12:30\nrules:\n  - name: on\n  - name: no\n", encoding="utf-8")
    loaded = load_yaml_as(path, Rules)
    assert loaded.at == "12:30"
    assert [rule.name for rule in loaded.rules] == ["on", "no"]


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("# nothing yet\n", encoding="utf-8")
    assert load_yaml_as(path, Rules) == Rules()


def test_a_problem_names_the_deepest_line_there_is(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - name: one\n  - name: two\n    limit: many\n", encoding="utf-8")
    (problem,) = _problems(path)
    assert problem.startswith(":4: rules.1.limit: Input should be a valid integer")


def test_an_unknown_key_is_named_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("at: noon\nruels: []\n", encoding="utf-8")
    assert _problems(path) == [":2: ruels: Extra inputs are not permitted"]


def test_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes("at: noon\n# 红色\n".encode("gbk"))
    (problem,) = _problems(path)
    assert problem.startswith(":2: file: not UTF-8")


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    assert _problems(tmp_path / "gone.yaml") == [":1: file: No such file or directory"]


def test_a_list_at_the_top_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("- one\n", encoding="utf-8")
    (problem,) = _problems(path)
    assert problem.startswith(":1: file: Input should be a valid dictionary")
