"""Opening the configured place for the files."""

from config import Config
from errors import Unavailable
from storage import Storage
from storage_local import LocalStorage


def open_storage(config: Config) -> Storage:
    """The place that `[storage] backend` names.

    Raises:
        OSError: the folder cannot be made or opened.
        Unavailable: the bucket needs a package that is not installed.
    """
    if config.storage.backend == "local":
        return LocalStorage(config.storage.directory, durable=config.storage.durable)
    # Here and not above: boto3 takes 25 MB, which a host that keeps its files in a folder need not.
    try:
        from storage_s3 import S3Storage
    except ModuleNotFoundError as error:
        told = f"[storage] backend = s3: there is no Python package {error.name}"
        raise Unavailable(f"{told}; run: make setup WITH=s3") from error
    return S3Storage(config)
