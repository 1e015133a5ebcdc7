"""Which store a gateway uses: a folder of this machine, or a bucket."""

from gateway.clock import Clock
from gateway.settings import Settings
from gateway.storage.base import ObjectStore
from gateway.storage.local import LocalStore
from models.configfile import ConfigError


def open_store(settings: Settings, clock: Clock) -> ObjectStore:
    """The store that `settings` name. A folder is made if missing; a bucket is not looked at.

    Raises:
        ConfigError: a bucket is named, but its client is not installed.
    """
    if settings.storage_dir is not None:
        secret = settings.secret.get_secret_value().encode()
        return LocalStore(settings.storage_dir, secret, clock)
    try:
        from gateway.storage.s3 import S3Store
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        problem = "S3 needs a package that is not installed: pip install 'reelgate[s3]'"
        raise ConfigError([f"environment: REELGATE_STORAGE_URL: {problem}"]) from None
    return S3Store(str(settings.storage_url))
