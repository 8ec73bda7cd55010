"""The app database, of both kinds, for tests of reviews."""

from __future__ import annotations

from tests.jobs.accounts.conftest import database, postgresql, url

__all__ = ["database", "postgresql", "url"]
