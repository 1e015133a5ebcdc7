"""Files that exist whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A `.part` sibling to write to, which becomes `path` when the block ends well.

    Its bytes and its name are on disk when this returns. After an exception neither file is left;
    after a crash, at most the `.part`. An old `path` stays until then.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        _fsync(part)
        part.replace(path)
        _fsync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
