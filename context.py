"""What a handler may reach: the configuration, the files, the secret, the places for bcrypt,
the metrics."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask, current_app

import config as configuration
import credentials
import models
from config import Config
from metrics import Metrics
from storage import Storage
from storage_opening import open_storage
from throttle import Places

_opening = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The opened parts of one running Kissa."""

    config: Config
    storage: Storage
    secret: bytes
    places: Places
    has_wal: bool
    metrics: Metrics
    stopping: threading.Event = field(default_factory=threading.Event)  # for load balancers to see


def open_services(config: Config) -> Services:
    """Open database, files and secret of this process.

    Raises:
        OSError, credentials.SecretError, peewee.OperationalError: one of them cannot be.
    """
    storage = open_storage(config)
    has_wal = models.open_database(
        config.database.url,
        durable=config.storage.durable,
        before_commit=storage.sync,
        backend=config.storage.backend,
    )
    return Services(
        config=config,
        storage=storage,
        secret=credentials.load_secret(credentials.secret_path(config.database.path)),
        places=Places(Path(f"{config.database.path}.bcrypt")),
        has_wal=has_wal,
        metrics=Metrics(),
    )


def close_services(services: Services) -> None:
    """Close what `open_services` opened, before a fork or the end."""
    models.close_database()
    services.storage.close()


def attach(app: Flask, services: Services | None = None) -> Services:
    """Give `app` its services: these, or freshly opened ones by the configuration in force."""
    with _opening:
        if "kissa" not in app.extensions:
            app.extensions["kissa"] = services or open_services(configuration.load())
    opened: Services = app.extensions["kissa"]
    return opened


def services_of(app: Flask) -> Services:
    """The services of `app`, opened at their first use at the latest."""
    opened: Services | None = app.extensions.get("kissa")
    return opened or attach(app)


def get_services() -> Services:
    """The services of the current app."""
    return services_of(current_app._get_current_object())  # type: ignore[attr-defined]


def get_config() -> Config:
    """The configuration in force."""
    return get_services().config


def get_storage() -> Storage:
    """The files."""
    return get_services().storage
