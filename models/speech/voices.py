"""The voices of an installation: the two that are shipped, and those of the configuration.

In a model card's `options`: `voices_file: voices.yaml`, beside the card's own file or a whole path.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, HttpUrl

from models.configfile import load_yaml_as
from models.pipeline import InputRefused
from models.refusal import Refusal
from models.speech.chinese import ChineseVoice
from models.speech.english import EnglishVoice
from models.speech.remote import OpenAISpeechVoice
from models.speech.script import Language
from models.speech.voice import Voice

SHIPPED = ("zh-female-1", "en-female-1")


class RemoteVoiceConfig(BaseModel):
    """One voice behind an OpenAI-compatible endpoint; see `OpenAISpeechVoice`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: HttpUrl
    model: str
    voice: str
    api_key_env: str | None = None
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("zh", "en")
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0


class VoicesFile(BaseModel):
    """`voices`: by id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    voices: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")], RemoteVoiceConfig]


@dataclass(frozen=True)
class Voices:
    """`by_id`: in the order of preference."""

    by_id: Mapping[str, Voice] = field(default_factory=dict)

    def choose(self, voice_id: str | None, language: str) -> Voice:
        """The voice `voice_id` where it speaks `language`, else the first that does.

        Raises:
            InputRefused: there is no voice `voice_id`, or nobody speaks `language`.
        """
        if voice_id is not None and voice_id not in self.by_id:
            raise InputRefused(
                Refusal.TEXT_UNSPEAKABLE,
                f"there is no voice {voice_id!r} here; there are {', '.join(self.by_id)}",
            )
        chosen = [self.by_id[voice_id]] if voice_id else []
        for voice in (*chosen, *self.by_id.values()):
            if language in voice.languages:
                return voice
        raise InputRefused(Refusal.TEXT_UNSPEAKABLE, f"no voice here speaks {language}")


def load_voices(file: Path | None = None) -> Voices:
    """The shipped voices, and before them those of `file`, which may take a shipped one's name.

    Raises:
        ConfigError: the file is broken; with line and key.
    """
    remote = load_yaml_as(file, VoicesFile).voices if file else {}
    own: dict[str, Voice] = {
        name: OpenAISpeechVoice(**{**config.model_dump(), "url": str(config.url)})
        for name, config in remote.items()
    }
    shipped: dict[str, Voice] = {SHIPPED[0]: ChineseVoice(), SHIPPED[1]: EnglishVoice()}
    return Voices({**own, **{name: voice for name, voice in shipped.items() if name not in own}})
