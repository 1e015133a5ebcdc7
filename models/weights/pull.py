"""Bringing weights from the hub: into a folder beside the wanted one, recorded, then renamed.

A pull that was cut off goes on where it stopped. Pickles are left on the hub: nothing here reads
them, and reading one runs its code.
"""

import contextlib
import errno
import fcntl
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from huggingface_hub import is_offline_mode, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from models.card import ModelCard
from models.digest import digest_of
from models.hub import DIR_VARIABLE, Source
from models.weights import (
    MANIFEST_FILE,
    FileRecord,
    Manifest,
    find_broken,
    is_named,
    list_files,
    read_manifest,
)

PICKLES = ["*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.msgpack", "*.h5"]
PART_SUFFIX = ".part"


class PullError(Exception):
    """Weights could not be brought. The message says what to do."""


def pull(card: ModelCard, say: Callable[[str], None]) -> Manifest:
    """Bring the weights of `card`, unless they are here and right; every file is read in full.

    Raises:
        PullError: the card names no commit, the hub is away or refuses, or the disk is full.
    """
    source = card.source
    if source is None or source.revision is None:
        raise PullError(f"{card.id}: its card needs source.repository and source.revision")
    folder = card.checkpoint_path(Path.cwd())
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(folder, say):
            manifest = read_manifest(folder)
            if manifest and manifest.revision == source.revision:
                if not find_broken(folder, manifest, card):
                    return manifest
            elif manifest is None and folder.exists():
                raise PullError(f"{folder} is in the way and was not pulled; move it elsewhere")
            return _bring(card, source, source.revision, folder, say)
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise PullError(_why_hub_failed(source, error)) from error
    except OSError as error:
        raise PullError(_explain(error, folder)) from error


def _bring(
    card: ModelCard, source: Source, revision: str, folder: Path, say: Callable[[str], None]
) -> Manifest:
    if is_offline_mode():
        raise PullError("HF_HUB_OFFLINE is set in this shell; unset it to pull")
    part = folder.with_name(folder.name + PART_SUFFIX)
    say(f"pulling {source}")
    snapshot_download(
        source.repository,
        revision=revision,
        local_dir=part,
        allow_patterns=source.files or None,
        ignore_patterns=PICKLES,
    )
    say("recording what came")
    manifest = _record(part, source.repository, revision)
    if not manifest.files:
        raise PullError(f"{source.repository} has no file that fits {source.files or 'a renderer'}")
    # What the hub's client keeps there to go on from.
    shutil.rmtree(part / ".cache", ignore_errors=True)
    if folder.exists():
        _carry_over(card, folder, part)
        shutil.rmtree(folder)
    part.replace(folder)
    return manifest


def _carry_over(card: ModelCard, folder: Path, part: Path) -> None:
    """Keep what an operator has put beside the weights for modes of `card`; no hub has it."""
    for name in list_files(folder):
        if is_named(card, name) and not (part / name).exists():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(part / name)


def _record(folder: Path, repository: str, revision: str) -> Manifest:
    files = {
        name: FileRecord(size_bytes=(folder / name).stat().st_size, sha256=digest_of(folder / name))
        for name in list_files(folder)
    }
    manifest = Manifest(repository=repository, revision=revision, files=files)
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    return manifest


@contextlib.contextmanager
def _only_one(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    with folder.with_name(f".{folder.name}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another pull into the same folder")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _why_hub_failed(source: Source, error: Exception) -> str:
    """A sentence, and what to do: the hub's own answer to somebody without access is a 401."""
    words = str(error).strip().splitlines()[0]
    return (
        f"{source} could not be pulled: {words} Check id and revision, the network or HF_ENDPOINT, "
        "and for gated models HF_TOKEN and that its terms are accepted; then pull again."
    )


def _explain(error: OSError, folder: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"no space is left for {folder}; make room, or set {DIR_VARIABLE}"
    return f"{error.filename or folder}: {error.strerror or error}"
