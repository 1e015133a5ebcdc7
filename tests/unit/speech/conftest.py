"""Real voices, asked once: two sentences that the tests share."""

import pytest

from models.assets import AssetMissing, asset_path
from models.assets.manifest import FILES
from models.speech.chinese import ChineseVoice
from models.speech.english import EnglishVoice
from models.speech.voice import Utterance
from models.speech.voices import Voices, load_voices

CHINESE = "大家好，我们明天买苹果。"
ENGLISH = "Peter bought many big apples."


def need(folder: str) -> None:
    """Skip where the assets of `folder` have not been fetched."""
    try:
        for name in FILES:
            if name.startswith(folder):
                asset_path(name)
    except AssetMissing as error:
        pytest.skip(f"{error}; fetch it with `reelgate assets fetch`")


@pytest.fixture(scope="session")
def voices() -> Voices:
    need("speech/")
    return load_voices()


@pytest.fixture(scope="session")
def chinese() -> Utterance:
    need("speech/zh")
    return ChineseVoice().say(CHINESE, 1.0, 0)


@pytest.fixture(scope="session")
def english() -> Utterance:
    need("speech/en")
    return EnglishVoice().say(ENGLISH, 1.0, 0)
