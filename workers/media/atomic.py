"""Files that exist whole or not at all, and folders of them that outlast a power cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A `.part` sibling to write to, which becomes `path` when the block ends well.

    After an exception neither file is left; after a kill, at most the `.part`. An old `path` stays
    until then. A power cut may tear the file until `flush_folder` has returned.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Have the files in `folder` and their names on the disk when this returns.

    Raises:
        OSError: a file or the folder is gone, or the disk fails.
    """
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
