"""Keys that people changed: everybody has their own, on every machine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.jobs.web.served import API, Site

_ROUTE = f"{API}/me/keymap"


def test_keys_are_stored_per_person_and_replaced_whole(shared: Site) -> None:
    with shared.client("annotator") as one, shared.client("annotator") as elsewhere, shared.client("viewer") as other:
        assert one.get(_ROUTE).json() == {"keys": None}
        assert one.put(_ROUTE, json={"keys": {"accept": ["y"], "hide": ["Ctrl+h", "ü"]}}).status_code == 200
        assert elsewhere.get(_ROUTE).json() == {"keys": {"accept": ["y"], "hide": ["Ctrl+h", "ü"]}}
        assert one.put(_ROUTE, json={"keys": {}}).json() == {"keys": {}}
        assert elsewhere.get(_ROUTE).json() == {"keys": {}}
        assert other.get(_ROUTE).json() == {"keys": None}


@pytest.mark.parametrize(
    "keys",
    [
        {"accept": ["y"], "reject": ["y"]},
        {"accept": []},
        {"accept": "y"},
        {"no command!": ["y"]},
        {"accept": ["y" * 99]},
    ],
)
def test_keys_that_cannot_be_are_refused(shared: Site, keys: dict[str, Any]) -> None:
    with shared.client("annotator") as person:
        answer = person.put(_ROUTE, json={"keys": keys})
        assert answer.status_code == 422
        assert len(answer.json()["lines"]) >= 1
