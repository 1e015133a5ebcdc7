"""Weights that other people published: where they lie, and which of them are there.

`reelgate assets fetch` brings them at set-up; at run time nothing is fetched. Torch-free.

    AssetMissing
    +- AssetSwitchedOff   the operator does without it
"""

import os
from pathlib import Path

from models.assets.manifest import FILES

DIR_VARIABLE = "REELGATE_ASSETS_DIR"
WITHOUT_VARIABLE = "REELGATE_ASSETS_WITHOUT"
WITHOUT_FILE = "without.txt"


class AssetMissing(Exception):
    """A weights file is not on this machine. The message says what to run."""


class AssetSwitchedOff(AssetMissing):
    """Left out on purpose: by `REELGATE_ASSETS_WITHOUT` or `reelgate assets fetch --without`."""


def assets_dir() -> Path:
    """Where assets lie: `REELGATE_ASSETS_DIR`, else the user's cache folder. May not exist."""
    chosen = os.environ.get(DIR_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "reelgate" / "assets"


def asset_path(name: str) -> Path:
    """The file of the asset `name`, `"face/mesh.tflite"`; its size has been compared.

    Raises:
        KeyError: no asset is called that.
        AssetSwitchedOff: this machine does without it.
        AssetMissing: it has not been fetched.
    """
    file = FILES[name]
    if is_switched_off(name):
        raise AssetSwitchedOff(f"{name} is switched off here")
    path = assets_dir() / name
    try:
        size = path.stat().st_size
    except OSError:
        size = -1
    if size != file.size_bytes:
        raise AssetMissing(f"{path} is not there or not whole; run `reelgate assets fetch`")
    return path


def is_switched_off(name: str) -> bool:
    """Whether `name` or a folder above it is one that this machine does without."""
    return any(is_within(name, off) for off in switched_off())


def switched_off() -> frozenset[str]:
    """Names and folders this machine does without, of the environment and of the last fetch."""
    try:
        kept = (assets_dir() / WITHOUT_FILE).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        kept = []
    return frozenset(kept) | frozenset(
        os.environ.get(WITHOUT_VARIABLE, "").replace(",", " ").split()
    )


def is_within(name: str, folder: str) -> bool:
    """Whether the asset `name` is `folder` itself or lies below it."""
    return name == folder or name.startswith(folder.rstrip("/") + "/")
