"""The files that put Reelgate on other machines: pins, images, compose."""

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any, cast

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
COMPOSE = sorted((ROOT / "deploy").glob("compose*.yaml"))


def lint(program: str, *arguments: str) -> None:
    tool = Path(sysconfig.get_path("scripts")) / program
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def services(name: str) -> dict[str, Any]:
    document = YAML(typ="safe").load(ROOT / "deploy" / name)
    return cast("dict[str, Any]", document["services"])


def test_compose_files_follow_the_specification() -> None:
    assert [path.name for path in COMPOSE] == ["compose.gpu.yaml", "compose.yaml"]
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, COMPOSE))


def test_the_dockerfile_passes_hadolint() -> None:
    lint("hadolint", "Dockerfile")


def test_only_the_gateway_is_published_and_on_loopback_unless_told() -> None:
    published = {name: service.get("ports") for name, service in services("compose.yaml").items()}
    ports = published.pop("gateway")
    assert ports == ["${REELGATE_BIND:-127.0.0.1}:${REELGATE_PORT:-8000}:8000"]
    assert set(published.values()) == {None}


def test_every_service_is_watched_and_reaps_its_children() -> None:
    for name, service in services("compose.yaml").items():
        assert service["init"] is True, name
        assert service["healthcheck"]["test"], name


def test_the_queue_keeps_what_it_was_given() -> None:
    command = " ".join(services("compose.yaml")["valkey"]["command"])
    for option in ("--appendonly yes", "--maxmemory-policy noeviction", "--requirepass"):
        assert option in command


def test_the_example_names_every_variable_that_compose_asks_for() -> None:
    asked = {
        name for path in COMPOSE for name in re.findall(r"\$\{([A-Z_]+)", path.read_text("utf-8"))
    }
    example = (ROOT / "deploy" / ".env.example").read_text("utf-8")
    assert asked == set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))


@pytest.mark.parametrize("target", ["gateway", "worker"])
def test_images_run_as_an_ordinary_user_and_watch_themselves(target: str) -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    stage = text.split(f"AS {target}\n")[1].split("\nFROM ")[0]
    assert "\nUSER 10001\n" in stage
    assert re.search(r'^HEALTHCHECK .*CMD \["reelgate"', stage, re.MULTILINE)
    assert re.search(r'^CMD \["', stage, re.MULTILINE)


def test_constraints_are_pins_alone_in_order() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*( ; .+)?", line) for line in lines)
    assert lines == sorted(lines)
    assert "torch==2.13.0" in lines
