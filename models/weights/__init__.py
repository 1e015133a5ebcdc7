"""Weights of model cards on this machine: whether they are there, and whether they are right.

`reelgate models pull` brings them at set-up and leaves a manifest beside them; a worker only looks
whether every file is there and whole. Torch-free.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from models.card import ModelCard
from models.digest import digest_of

MANIFEST_FILE = "reelgate-manifest.json"


class FileRecord(BaseModel):
    """One file as it was when it was pulled; `sha256` in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int
    sha256: str


class Manifest(BaseModel):
    """What a pull has brought: `files` by their path in the folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str
    revision: str
    files: dict[str, FileRecord]

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files.values())


def find_problem(card: ModelCard) -> str | None:
    """Why the weights of `card` cannot be loaded here, with what to run; None where they can.

    Sizes are compared, contents are not; cheap. A card without a source is its adapter's business.
    """
    if card.source is None:
        return None
    folder = card.checkpoint_path(Path.cwd())
    remedy = f"run `reelgate models pull {card.id}`"
    manifest = read_manifest(folder)
    if manifest is None:
        # A folder that somebody else has filled is taken as it is.
        return None if card.checkpoint and folder.is_dir() else f"{folder} is not there; {remedy}"
    if manifest.revision != card.source.revision:
        return f"{folder} is revision {manifest.revision[:12]}, not the card's; {remedy}"
    for name, record in manifest.files.items():
        if _size_of(folder / name) != record.size_bytes:
            return f"{folder / name} is missing or not whole; {remedy}"
    return None


def find_broken(folder: Path, manifest: Manifest, card: ModelCard) -> dict[str, str]:
    """What is wrong with which file of `folder`; every file is read in full.

    What modes of `card` name, a LoRA or an upsampler, an operator may have put there.
    """
    broken = {}
    for name, record in manifest.files.items():
        path = folder / name
        if _size_of(path) < 0:
            broken[name] = "missing"
        elif _size_of(path) != record.size_bytes:
            broken[name] = f"{_size_of(path)} bytes, not {record.size_bytes}"
        elif digest_of(path) != record.sha256:
            broken[name] = "not what was pulled: its SHA-256 differs"
    for name in sorted(set(list_files(folder)) - set(manifest.files)):
        if not is_named(card, name):
            broken[name] = "was not pulled"
    return broken


def is_named(card: ModelCard, name: str) -> bool:
    """Whether a mode of `card` names the file `name` of its checkpoint folder, or one above it."""
    named = [one for mode in card.modes.values() for one in mode.own_files]
    return any(name == one or name.startswith(f"{one}/") for one in named)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in `folder`; None where there is none that can be read."""
    try:
        return Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def list_files(folder: Path) -> list[str]:
    """Every file below `folder`, but for the manifest and what begins with a dot."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        str(path)
        for path in found
        if str(path) != MANIFEST_FILE and not any(part.startswith(".") for part in path.parts)
    )


def _size_of(path: Path) -> int:
    """Bytes of a file, -1 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
