"""Settings of one gateway process: `configs/gateway.yaml`, overruled by `REELGATE_*` variables.

Built by entry points and passed in. Plans, prices and models have files of their own.
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from models.configfile import ConfigError, load_yaml_as

MIB = 1024 * 1024
_S3_URL = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?$"


class Limits(BaseModel):
    """What a request may weigh before anything of it is decoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: Annotated[int, Field(gt=0)] = 32 * MIB
    max_artifact_bytes: Annotated[int, Field(gt=0)] = 2048 * MIB
    max_audio_bytes: Annotated[int, Field(gt=0)] = 20 * MIB
    max_image_bytes: Annotated[int, Field(gt=0)] = 10 * MIB
    max_image_pixels: Annotated[int, Field(gt=0)] = 40_000_000
    max_image_side: Annotated[int, Field(gt=0)] = 2048


class GatewayFile(BaseModel):
    """`configs/gateway.yaml`: the settings that are not secrets and not places.

    Attributes:
        lease_s: a worker silent for this long has lost its jobs.
        heartbeat_s: how often it gives a sign; half a lease at most.
        max_attempts: executions of one job before it fails.
        model_swap_s: how long a worker takes to load another model. A job of the loaded one may
            be served this many device-seconds before its turn.
        file_url_ttl_s: seconds a signed file link lives.
        label_producer: who the generated-content label names as producer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: Limits = Limits()
    lease_s: Annotated[float, Field(gt=0)] = 60
    heartbeat_s: Annotated[float, Field(gt=0)] = 10
    reap_every_s: Annotated[float, Field(gt=0)] = 10
    deliver_every_s: Annotated[float, Field(gt=0)] = 1
    max_attempts: Annotated[int, Field(ge=1)] = 3
    model_swap_s: Annotated[float, Field(ge=0)] = 30
    file_url_ttl_s: Annotated[float, Field(gt=0)] = 600
    label_producer: Annotated[str, Field(min_length=1)] = "Reelgate"

    @model_validator(mode="after")
    def _leases_outlast_heartbeats(self) -> Self:
        if self.heartbeat_s > self.lease_s / 2:
            raise PydanticCustomError(
                "heartbeat",
                "heartbeat_s must be half of lease_s at most, or jobs are lost while they run",
            )
        return self


class Settings(BaseSettings, GatewayFile):
    """One gateway process.

    Attributes:
        database_url: `sqlite:////absolute/path.db`, or `postgresql+psycopg://user:pw@host/name`.
        storage_dir: folder of the files; either this or `storage_url`.
        storage_url: `s3://bucket` or `s3://bucket/folder`; endpoint, region and keys come from the
            standard `AWS_*` variables.
        secret: signs file links; the same in every gateway, 32 characters or more.
        worker_token: what workers authenticate with.
    """

    model_config = SettingsConfigDict(
        env_prefix="REELGATE_",
        env_nested_delimiter="__",
        # A variable that an image sets can be emptied by those who run it, but not unset.
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    database_url: str
    redis_url: str
    storage_dir: Path | None = None
    storage_url: Annotated[str, Field(pattern=_S3_URL)] | None = None
    secret: Annotated[SecretStr, Field(min_length=32)]
    worker_token: Annotated[SecretStr, Field(min_length=16)]
    config_dir: Path = Path("configs")
    log_format: Annotated[str, Field(pattern="^(json|console)$")] = "json"

    @model_validator(mode="after")
    def _has_one_place_for_files(self) -> Self:
        if (self.storage_dir is None) == (self.storage_url is None):
            raise PydanticCustomError(
                "storage_place",
                "set one of REELGATE_STORAGE_DIR (a folder) and REELGATE_STORAGE_URL (s3://...), "
                "not both",
            )
        return self

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment overrules the file, whose values come in as arguments."""
        return env_settings, init_settings


def load_settings(config_dir: Path) -> Settings:
    """Settings from `config_dir/gateway.yaml` and the environment.

    Raises:
        ConfigError: naming the line of the file, or the variable that is missing or wrong.
    """
    file = load_yaml_as(config_dir / "gateway.yaml", GatewayFile)
    values: dict[str, Any] = {**file.model_dump(exclude_unset=True), "config_dir": config_dir}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigError([_environment_problem(found) for found in error.errors()]) from None


def _environment_problem(found: Any) -> str:  # noqa: ANN401 -- pydantic's own error record
    if not found["loc"]:
        return f"environment: {found['msg']}"
    name = "REELGATE_" + "__".join(str(part) for part in found["loc"]).upper()
    return f"environment: {name}: {found['msg']}"
