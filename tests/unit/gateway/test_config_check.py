"""What `check-config` says of right, doubtful and wrong configuration; and `price`."""

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.config import ConfigFiles, check_config, read_files
from gateway.cli.price import price
from gateway.cli.simulate import simulate_trace
from gateway.domain.config_check import WarningCode, find_warnings

ROOT = Path(__file__).parents[3]
TODAY = date(2026, 11, 21)


def run(command: Callable[..., None], *words: str) -> Any:
    """A command as a shell runs it, without a variable of the environment."""
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, words, env={"REELGATE_CONFIG_DIR": None})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped configuration."""
    return Path(shutil.copytree(ROOT / "configs", tmp_path / "configs"))


def edit(folder: Path, name: str, old: str, new: str) -> int:
    """Replace the first `old`; the line it stands in."""
    path = folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def codes(files: ConfigFiles, today: date = TODAY, ttl_s: float = 600) -> set[WarningCode]:
    """What is warned of, apart from limits that are wide for the tiny model on purpose."""
    found = find_warnings(
        files.catalog, files.plans, files.prices, file_url_ttl_s=ttl_s, today=today
    )
    wide = {"max_resolution", "max_seconds", "max_fps"}
    return {each.code for each in found if each.where.split()[-1] not in wide}


def test_the_shipped_configuration_is_right(folder: Path) -> None:
    answer = run(check_config, "--config", str(folder))
    assert answer.exit_code == 0
    assert "pool default: reel-tiny" in answer.stdout
    assert codes(read_files(folder)) == set()


def test_json_is_one_object(folder: Path) -> None:
    answer = json.loads(run(check_config, "--config", str(folder), "--json").stdout)
    assert (answer["ok"], answer["problems"]) == (True, [])
    assert answer["price_version"] == read_files(folder).prices.version
    assert answer["pools"] == {"default": ["reel-tiny", "reel-avatar"]}
    edit(folder, "plans.yaml", "daily_points: 66", "daily_points: many")
    answer = json.loads(run(check_config, "--config", str(folder), "--json").stdout)
    assert (answer["ok"], answer["price_version"], len(answer["problems"])) == (False, None, 1)


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("plans.yaml", "daily_points: 66", "daily_points: 2", WarningCode.NOTHING_AFFORDABLE),
        ("plans.yaml", "max_fps: 24", "max_fps: 4", WarningCode.NOTHING_ALLOWED),
        ("plans.yaml", "modes: [standard, fast]", "models: [other]", WarningCode.UNKNOWN_MODEL),
        ("plans.yaml", "[standard, fast]", "[standard, 4k]", WarningCode.LIMIT_WITHOUT_USE),
        ("pricing.yaml", "points_per_second: 5", "points_per_second: 0", WarningCode.PRICE_ZERO),
        ("plans.yaml", "Asia/Shanghai", "Africa/Cairo", WarningCode.MIDNIGHT_MISSING),
        (
            "plans.yaml",
            "retention_hours: 72",
            "retention_hours: 1",
            WarningCode.RETENTION_TOO_SHORT,
        ),
    ],
)
def test_what_is_doubtful_is_warned_of(
    folder: Path, name: str, old: str, new: str, expected: WarningCode
) -> None:
    edit(folder, name, old, new)
    ttl_s = 7200 if expected is WarningCode.RETENTION_TOO_SHORT else 600
    assert expected in codes(read_files(folder), ttl_s=ttl_s)
    assert run(check_config, "--config", str(folder)).exit_code == 0


def test_a_model_that_no_plan_allows(folder: Path) -> None:
    files = read_files(folder)
    plans = [plan.model_copy(update={"models": []}) for plan in files.plans.plans]
    files = ConfigFiles(
        files.gateway, files.catalog, files.plans.model_copy(update={"plans": plans}), files.prices
    )
    assert {WarningCode.MODEL_WITHOUT_PLAN, WarningCode.NOTHING_ALLOWED} == codes(files)


@pytest.mark.parametrize(
    ("zone", "today", "days"),
    [
        ("Asia/Shanghai", TODAY, []),
        ("America/New_York", TODAY, []),
        ("America/Santiago", date(2026, 9, 1), ["2026-09-06", "2027-09-05"]),
        ("America/Santiago", date(2026, 9, 7), ["2027-09-05"]),
    ],
)
def test_midnights_that_do_not_exist(folder: Path, zone: str, today: date, days: list[str]) -> None:
    edit(folder, "plans.yaml", "Asia/Shanghai", zone)
    files = read_files(folder)
    found = find_warnings(files.catalog, files.plans, files.prices, file_url_ttl_s=1, today=today)
    missing = [each for each in found if each.code is WarningCode.MIDNIGHT_MISSING]
    assert [each.message.split()[0] for each in missing] == days


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("plans.yaml", "daily_points: 66", "daily_points: 12:30", "valid integer"),
        ("plans.yaml", "daily_points: 66", "daily_points: on", "valid integer"),
        ("plans.yaml", "daily_points: 66", "daily_points: 1e9", "valid integer"),
        ("plans.yaml", "daily_points: 66", "daily_points: 1000000001", "less than or equal"),
        ("plans.yaml", "daily_points: 66", "daily_point: 66", "daily_points: Field required"),
        ("plans.yaml", "title: Free", "title: Free\n    title: Gratis", "duplicate key"),
        ("plans.yaml", "id: standard", "id: free", "two plans share an id"),
        ("pricing.yaml", "points_per_second: 5", "points_per_second: .nan", "finite"),
        ("pricing.yaml", "model: reel-tiny", "model: other", "no price for model reel-tiny"),
        ("models.yaml", "sizes: [96x96, ", "sizes: [96*96, ", "64x96"),
        ("gateway.yaml", "lease_s: 60", "lease_s: 0", "greater than 0"),
        ("gateway.yaml", "lease_s: 60", "lease_seconds: 60", "not permitted"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(
    folder: Path, name: str, old: str, new: str, says: str
) -> None:
    edit(folder, name, old, new)
    answer = run(check_config, "--config", str(folder))
    assert (answer.exit_code, answer.stdout) == (3, "")
    [problem] = [line for line in answer.stderr.splitlines() if says in line]
    where, line, _ = problem.split(":", 2)
    assert where == str(folder / name)
    assert int(line) >= 1


def test_a_line_is_the_line_of_the_key(folder: Path) -> None:
    line = edit(folder, "plans.yaml", "max_queued: 10", "max_queued: 12:30")
    answer = run(check_config, "--config", str(folder))
    assert answer.stderr.startswith(f"{folder}/plans.yaml:{line}: plans.1.max_queued: ")


def test_all_files_are_looked_at(folder: Path) -> None:
    edit(folder, "plans.yaml", "daily_points: 66", "daily_points: on")
    edit(folder, "pricing.yaml", "flat_points: 0", "flat_points: 0.5")
    edit(folder, "gateway.yaml", "max_attempts: 3", "max_attempts: three")
    (folder / "models.yaml").unlink()
    answer = run(check_config, "--config", str(folder))
    assert answer.exit_code == 3
    names = [Path(line.split(":")[0]).name for line in answer.stderr.splitlines()]
    assert names == ["gateway.yaml", "models.yaml", "plans.yaml", "pricing.yaml"]


def test_a_request_is_priced_on_every_plan(folder: Path) -> None:
    answer = run(price, "--config", str(folder), "--mode", "pro", "--json")
    priced = json.loads(answer.stdout)
    assert priced["points"] == 20
    assert priced["breakdown"]["multipliers"] == {"mode": "2"}
    by_plan = {line["plan"]: line for line in priced["plans"]}
    assert "plan standard allows it" in by_plan["free"]["forbidden_by"]
    assert by_plan["standard"]["forbidden_by"] is None
    assert (by_plan["standard"]["per_day"], by_plan["standard"]["per_period"]) == (3, 33)
    assert "20 points" in run(price, "--config", str(folder), "--mode", "pro").stdout


@pytest.mark.parametrize(
    ("per_second", "per_day", "per_period"), [("0", 30, None), ("0.5", 30, 0), ("33.5", 0, 0)]
)
def test_what_the_points_of_a_plan_pay(
    folder: Path, per_second: str, per_day: int, per_period: int | None
) -> None:
    edit(folder, "pricing.yaml", "points_per_second: 5", f"points_per_second: {per_second}")
    priced = json.loads(run(price, "--config", str(folder), "--json").stdout)
    free = priced["plans"][0]
    assert (free["per_day"], free["per_period"]) == (per_day, per_period)


def test_a_request_that_no_model_makes_has_no_price(folder: Path) -> None:
    answer = run(price, "--config", str(folder), "--seconds", "5")
    assert answer.exit_code == 1
    assert answer.stderr == "price: reel-tiny makes clips of 2, 1, 3, 4, 6 seconds, not 5\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--fps", "0"), "fps: input should be greater than or equal to 1"),
        (("--seconds", "-5"), "seconds: input should be greater than 0"),
        (("--kind", "digital_human", "--seconds", "nan"), "seconds: input should be a finite"),
    ],
)
def test_no_request_has_no_price(folder: Path, words: tuple[str, ...], problem: str) -> None:
    answer = run(price, "--config", str(folder), *words)
    assert answer.exit_code == 1
    assert answer.stderr.startswith(f"price: {problem}")


def test_a_simulation_from_a_shell(folder: Path, tmp_path: Path) -> None:
    dearer = Path(shutil.copytree(folder, tmp_path / "dearer"))
    edit(dearer, "pricing.yaml", "points_per_second: 5", "points_per_second: 10")
    words = ("--synthetic", "300", "--config", str(dearer), "--against", str(folder))
    answer = json.loads(run(simulate_trace, *words, "--json").stdout)
    new, old, change = (answer[name]["free"] for name in ("config", "against", "difference"))
    assert new["points_burnt"] - old["points_burnt"] == change["points_burnt"] != 0
    assert new["requests"] == old["requests"] > 150
    assert answer == json.loads(run(simulate_trace, *words, "--json").stdout)
    assert "difference" in run(simulate_trace, *words).stdout


def test_a_bad_trace_is_named_by_line(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "usage.csv"
    trace.write_text(
        "at,account,plan,model,kind,mode,size,seconds,fps,outcome\n"
        "2026-01-05T08:00:00,a,free,reel-tiny,text_to_video,standard,64x64,2,8,ok\n"
        "2026-01-05T08:00:00Z,a,free,reel-tiny,text_to_video,standard,64x64,2.5,8,lost\n",
        encoding="utf-8",
    )
    answer = run(simulate_trace, "--trace", str(trace), "--config", str(folder))
    assert answer.exit_code == 1
    starts = [line.split(": ")[0:2] for line in answer.stderr.splitlines()]
    assert starts == [[f"{trace}:2", "at"], [f"{trace}:3", "seconds"], [f"{trace}:3", "outcome"]]
    assert run(simulate_trace, "--config", str(folder)).exit_code == 1
