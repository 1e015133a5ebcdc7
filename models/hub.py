"""Where weights come from and where they lie: a model hub at set-up, a local folder ever after."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

DIR_VARIABLE = "REELGATE_MODELS_DIR"
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DIFFUSERS_DISABLE_REMOTE_CODE": "true",
}
"""What shuts the hub for a process; huggingface_hub and diffusers read it when imported."""


class Source(BaseModel):
    """A repository of weights on the hub, at one commit.

    Attributes:
        repository: `owner/name`.
        revision: the commit, in full, for branches and tags move; needed to pull.
        files: patterns of what is fetched, `vae/*`; all but pickles if left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    files: list[str] = Field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where it lies unless the card says otherwise. May not exist."""
        name = self.repository.replace("/", "--")
        return models_dir() / (f"{name}-{self.revision[:12]}" if self.revision else name)

    @override
    def __str__(self) -> str:
        return f"{self.repository} {self.revision[:12]}" if self.revision else self.repository


def models_dir() -> Path:
    """Where pulled weights lie: `REELGATE_MODELS_DIR`, else the user's cache folder."""
    chosen = os.environ.get(DIR_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "reelgate" / "models"


def shut_hub() -> None:
    """Let this process load weights from local folders alone; before it imports a renderer."""
    os.environ.update(OFFLINE)
