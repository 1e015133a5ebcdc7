"""The networks that find faces, where they have been fetched."""

import pytest

from models.assets import AssetMissing
from models.avatar.faces import Faces


@pytest.fixture(scope="session")
def faces() -> Faces:
    try:
        return Faces.fetched()
    except AssetMissing as missing:
        pytest.skip(str(missing))
