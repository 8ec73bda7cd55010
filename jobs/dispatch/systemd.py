"""The files that make a gateway a service of the user: a systemd unit, or a launchd property list on macOS."""

from __future__ import annotations

import plistlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from jobs.core.interpreter import python
from jobs.dispatch.gateway_files import output_path
from jobs.storage import paths
from jobs.storage.paths import Place

_MARGIN_S = 15
_VARIABLES = ".config/winnow/gateway.env"


@dataclass(frozen=True)
class Service:
    """A file to install, and the commands by which a user puts it to work.

    `variables` is the file that the environment of the gateway and its jobs is read from, where the system reads any.
    """

    path: Path
    text: str
    next_steps: tuple[str, ...]
    variables: Path | None = None

    def install(self) -> None:
        """Write the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        paths.place(self.path).write(self.text.encode())


def service(root: Place, options: Sequence[str], grace_s: float, platform: str = sys.platform) -> Service:
    """Return the service of the gateway of the workspace at `root` for a platform, as `sys.platform` names it."""
    command = python("-m", "jobs.cli", "gateway", "start", "--foreground", "--workspace", str(root))
    command += options
    return _launchd(root, command) if platform == "darwin" else _systemd(root, command, grace_s)


def service_name(root: Place) -> str:
    """Return a name that no other workspace of the user has."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", root.name).strip("-") or "workspace"
    return f"winnow-{plain}-{blake3(str(root).encode()).hexdigest()[:6]}"


def _systemd(root: Place, command: Sequence[str], grace_s: float) -> Service:
    name = f"{service_name(root)}.service"
    text = f"""[Unit]
Description=Winnow gateway of {_specifier_free(str(root))}
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=exec
# Jobs do not inherit the environment of the shell that installed this; put their variables there. It need not exist.
EnvironmentFile=-%h/{_VARIABLES}
ExecStart={" ".join(_quoted(word) for word in command)}
Restart=on-failure
RestartSec=5
# Another gateway serves the workspace, or the workspace is of no use.
RestartPreventExitStatus=2
# The gateway lets its jobs commit before it ends; what is left of them then ends with it.
KillMode=mixed
TimeoutStopSec={int(grace_s) + _MARGIN_S}

[Install]
WantedBy=default.target
"""
    steps = ("systemctl --user daemon-reload", f"systemctl --user enable --now {name}", "loginctl enable-linger")
    return Service(Path.home() / ".config/systemd/user" / name, text, steps, Path.home() / _VARIABLES)


def _launchd(root: Place, command: Sequence[str]) -> Service:
    name = service_name(root)
    values = {
        "Label": name,
        "ProgramArguments": list(command),
        "RunAtLoad": True,
        # Started again after a crash, not after `winnow gateway stop`.
        "KeepAlive": {"SuccessfulExit": False},
        "ProcessType": "Background",
        "StandardErrorPath": _errors(root, name),
    }
    path = Path.home() / "Library/LaunchAgents" / f"{name}.plist"
    return Service(path, plistlib.dumps(values).decode(), (f"launchctl bootstrap gui/$(id -u) {path}",))


def _errors(root: Place, name: str) -> str:
    return str(output_path(root).on_disk() or Path.home() / f"Library/Logs/{name}.txt")


def _quoted(word: str) -> str:
    """Return a word as systemd.syntax(7) and systemd.service(5) want it: quoted, without specifiers and variables."""
    plain = _specifier_free(word).replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_./:=@%$+,-]+", plain):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _specifier_free(text: str) -> str:
    return text.replace("%", "%%")
