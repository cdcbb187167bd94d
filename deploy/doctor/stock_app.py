"""Check of a topology's Flower app."""

from __future__ import annotations

from collections.abc import Generator

from deploy.doctor.finding import Finding, failure, ok
from deploy.stock_app.app import app_of
from deploy.stock_app.fingerprint import fingerprint
from hierfl.config import Config
from hierfl.errors import ConfigError


def of(config: Config) -> Generator[Finding, None, str]:
    """Check that the app can be read here, and has its packages; return its fingerprint."""
    try:
        app = app_of(config)
        code = fingerprint(app.folder)
    except ConfigError as error:
        yield failure("app", f"{error.message}.", error.hint or "See docs/flower-apps.md.")
        return ""
    yield ok("app", f"{app.folder} has its packages; its code is {code[:12]}")
    return code
