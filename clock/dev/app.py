"""The ASGI application of development: the service's own, with the paths under ``/dev``."""

import os

from clock.config import BadSetting, Settings, load
from clock.dev.routes import dev_routes
from clock.http import app


def create_app(settings: Settings | None = None) -> app.Clock:
    """Settings from the environment unless given. Raises :class:`BadSetting` unless ``CLOCK_ENV=dev``: one of the paths
    issues any token to anyone."""
    settings = settings or load(os.environ)
    if settings.env != "dev":
        raise BadSetting("CLOCK_ENV=dev is required for the paths under /dev")
    return app.create_app(settings, dev_routes)
