"""Settings come from the file, the environment overrules them, and mistakes are named."""

import sys
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.settings import load_settings
from gateway.storage.open import open_store
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
    monkeypatch.setenv("REELGATE_LEASE_S", "25")
    monkeypatch.setenv("REELGATE_LIMITS__MAX_IMAGE_BYTES", "1000")
    settings = load_settings(CONFIGS)
    assert (settings.lease_s, settings.limits.max_image_bytes) == (25, 1000)


def test_a_lease_that_ends_before_the_next_heartbeat_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "gateway.yaml").write_text("lease_s: 19\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="heartbeat_s must be half of lease_s at most"):
        load_settings(tmp_path)
    monkeypatch.setenv("REELGATE_LEASE_S", "19")
    with pytest.raises(ConfigError, match="heartbeat_s must be half of lease_s at most"):
        load_settings(CONFIGS)


@pytest.mark.parametrize("name", sorted(GOOD.keys() - {"REELGATE_STORAGE_DIR"}))
def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=f"environment: {name}: "):
        load_settings(CONFIGS)


@pytest.mark.parametrize(
    ("folder", "url"), [(None, None), ("", ""), ("store", "s3://videos/reelgate")]
)
def test_files_have_one_place(
    monkeypatch: pytest.MonkeyPatch, folder: str | None, url: str | None
) -> None:
    for name, value in (("REELGATE_STORAGE_DIR", folder), ("REELGATE_STORAGE_URL", url)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"one of REELGATE_STORAGE_DIR .* REELGATE_STORAGE_URL"):
        load_settings(CONFIGS)


def test_a_bucket_takes_the_place_of_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELGATE_STORAGE_DIR", "")
    monkeypatch.setenv("REELGATE_STORAGE_URL", "s3://videos/reelgate")
    settings = load_settings(CONFIGS)
    assert (settings.storage_dir, settings.storage_url) == (None, "s3://videos/reelgate")


@pytest.mark.parametrize("url", ["gs://videos", "s3://", "s3://Videos", "s3://videos?region=x"])
def test_a_wrong_bucket_is_named(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.delenv("REELGATE_STORAGE_DIR")
    monkeypatch.setenv("REELGATE_STORAGE_URL", url)
    with pytest.raises(ConfigError, match="environment: REELGATE_STORAGE_URL: "):
        load_settings(CONFIGS)


def test_a_bucket_without_its_client_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REELGATE_STORAGE_DIR")
    monkeypatch.setenv("REELGATE_STORAGE_URL", "s3://videos")
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "gateway.storage.s3", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'reelgate\[s3\]'"):
        open_store(load_settings(CONFIGS), SystemClock())


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
