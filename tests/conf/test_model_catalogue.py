from __future__ import annotations

import pytest

from conf.model_catalogue import NOT_STATED, restriction_of


@pytest.mark.parametrize(
    "licence",
    [
        "Apache-2.0",
        "apache-2.0",
        "Apache License, Version 2.0",
        "MIT",
        "The MIT License (MIT)",
        "MIT OR Apache-2.0",
        "MIT (https://example.org/licence)",
        "BSD-3-Clause",
        "BSD 2-Clause License",
        "ISC",
        "CC0-1.0",
        "cc-by-4.0",
    ],
)
def test_licences_that_require_only_attribution_are_permissive(licence: str) -> None:
    assert restriction_of(licence) is None


@pytest.mark.parametrize(
    ("licence", "asked"),
    [
        ("AGPLv3", "source of the whole program"),
        ("GNU Affero General Public License v3.0", "source of the whole program"),
        ("GPL-3.0-only", "under the same licence"),
        ("LGPLv3", "under the same licence"),
        ("CC-BY-SA-4.0", "under the same licence"),
        ("Apache-2.0 AND GPL-2.0", "under the same licence"),
        ("polyform-noncommercial-1.0.0", "commercially"),
        ("CC-BY-NC-SA-4.0", "commercially"),
        ("Apache-2.0 with Commons Clause", "commercially"),
        ("for research", "research alone"),
        ("SAM License", "terms of its own"),
        ("other", "terms of its own"),
        ("openrail", "terms of its own"),
        ("cc-by-nd-4.0", "terms of its own"),
        ("MITRE", "terms of its own"),
        ("unlicensed", "terms of its own"),
    ],
)
def test_unknown_licences_are_restricted(licence: str, asked: str) -> None:
    assert asked in (restriction_of(licence) or "")


@pytest.mark.parametrize("licence", [None, "", " ", "unknown", "None"])
def test_unstated_licences_are_not_permissive(licence: str | None) -> None:
    assert restriction_of(licence) == NOT_STATED
