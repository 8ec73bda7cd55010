"""Winnow for Python programs: open a workspace, read its tables, start runs, export datasets.

>>> import winnow
>>> record = winnow.run("frames", settings={"curation.dark_mean": 20})
>>> record.state
'done'
>>> workspace = winnow.open()
>>> workspace.table("curated").filter("keep").select("uri").collect().height
65

Importing this package imports nothing else; a name of it is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from winnow.name_clash import require_our_packages

require_our_packages()

if TYPE_CHECKING:
    from conf import ConfigError, Loaded, PipelineConfig
    from jobs.core.errors import RunFailedError, UserError
    from jobs.records.run_record import RunRecord
    from winnow.running import load, run
    from winnow.workspace_view import WorkspaceView, open  # noqa: A004

    __version__: str

__all__ = [
    "ConfigError",
    "Loaded",
    "PipelineConfig",
    "RunFailedError",
    "RunRecord",
    "UserError",
    "WorkspaceView",
    "load",
    "open",
    "run",
]

_MODULES = {
    "ConfigError": "conf",
    "Loaded": "conf",
    "PipelineConfig": "conf",
    "RunFailedError": "jobs.core.errors",
    "RunRecord": "jobs.records.run_record",
    "UserError": "jobs.core.errors",
    "WorkspaceView": "winnow.workspace_view",
    "load": "winnow.running",
    "open": "winnow.workspace_view",
    "run": "winnow.running",
}


if not TYPE_CHECKING:  # A name that is not there is an error for type checkers, too.

    def __getattr__(name: str) -> object:
        """Import what a name refers to, the first time it is used."""
        if name == "__version__":
            from importlib.metadata import version

            value = version("winnow")
        elif name in _MODULES:
            value = getattr(import_module(_MODULES[name]), name)
        else:
            raise AttributeError(f"module 'winnow' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
