"""Settings come from the file, the environment overrules them, and mistakes are named."""

from pathlib import Path

import pytest

from gateway.settings import load_settings
from models.configfile import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"
GOOD = {
    "REELGATE_DATABASE_URL": "sqlite:///x.db",
    "REELGATE_REDIS_URL": "redis://127.0.0.1:6379/0",
    "REELGATE_STORAGE_DIR": "store",
    "REELGATE_SECRET": "s" * 32,
    "REELGATE_WORKER_TOKEN": "t" * 16,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole environment."""
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_the_environment_overrules_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(CONFIGS).lease_s == 60
    monkeypatch.setenv("REELGATE_LEASE_S", "5")
    monkeypatch.setenv("REELGATE_LIMITS__MAX_IMAGE_BYTES", "1000")
    settings = load_settings(CONFIGS)
    assert (settings.lease_s, settings.limits.max_image_bytes) == (5, 1000)


@pytest.mark.parametrize("name", sorted(GOOD.keys() - {"REELGATE_STORAGE_DIR"}))
def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=f"environment: {name}: "):
        load_settings(CONFIGS)


def test_a_short_secret_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELGATE_SECRET", "hunter2")
    with pytest.raises(ConfigError, match="REELGATE_SECRET") as caught:
        load_settings(CONFIGS)
    assert "hunter2" not in str(caught.value)


def test_a_key_of_the_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("lease_s: 60\nleese_s: 5\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"gateway\.yaml:2: leese_s: "):
        load_settings(tmp_path)


def test_secrets_do_not_print() -> None:
    assert GOOD["REELGATE_SECRET"] not in repr(load_settings(CONFIGS))
