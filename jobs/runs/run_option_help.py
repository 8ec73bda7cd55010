"""Help text of each option of a run, by its name in `RunOptions`. Imports nothing, so that `winnow --help` is quick."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RUN_OPTION_HELP: Mapping[str, str] = MappingProxyType(
    {
        "inputs": "A folder of frames, a clip, or a folder of such. Repeat for several.",
        "profile": "Built-in configuration to start from.",
        "config": "YAML file or FILE.py:attribute on top of the profile.",
        "settings": "One value on top of all, as in duplicates.hamming=8. Repeat for several.",
        "add_stages": "Run this stage too, besides those of the configuration. Repeat for several.",
        "stream_ids": "Id for the input; once for each --input.",
        "rebind": "Let a stream id refer to another place than before.",
        "allow_missing": "Continue although over 10 % of a stream's frames are missing.",
        "limit": "Measure at most this many more frames.",
        "ray_address": "Run on this Ray cluster.",
        "on_error": "What to do with a frame that cannot be read or measured: quarantine it, or end the run.",
        "pause_after": "Pause when this stage is done; `winnow job resume` continues.",
        "strict": "Exit with 3 if any frame is corrupt or quarantined; a queued job reports it as an error.",
        "reread": "Read every file, also those whose size and mtime are unchanged.",
    }
)
