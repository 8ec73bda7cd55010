from __future__ import annotations

import base64
import html
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.errors import one_line
from jobs.core.redaction import LEAST, Redaction
from transforms.assess.escalation import KEYS

KEY = 'sk-proj-Zq7/x+"9&<ü~T4mW=='


@pytest.mark.parametrize(
    "echo",
    [
        KEY,
        urllib.parse.quote(KEY, safe=""),
        urllib.parse.quote_plus(KEY),
        urllib.parse.urlencode({"key": KEY}),
        urllib.parse.quote(KEY, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
        json.dumps({"key": KEY}),
        json.dumps({"key": KEY}, ensure_ascii=False),
        json.dumps(KEY).replace("/", r"\/"),
        html.escape(KEY),
        repr({"key": KEY}),
        KEY.encode().hex(),
        f"the key {KEY[:12]}… is wrong",
        f"the key …{KEY[-10:]} is wrong",
        f"header {KEY[4:17]}",
    ],
)
def test_no_part_of_a_secret_stays_in_any_form(echo: str) -> None:
    left = Redaction([KEY])(f"before {echo} after")
    assert left.startswith("before ")
    assert left.endswith(" after")
    assert "(hidden)" in left
    for form in (KEY, urllib.parse.quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode()):
        assert not [at for at in range(len(form) - LEAST + 1) if form[at : at + LEAST] in left]


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=12, max_size=60), st.text(max_size=9))
def test_base64_is_recognised_after_anything(secret: str, before: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(f"{before}{secret}".encode()).decode()
        left = Redaction([secret])(whole)
        # What is left is of the first and the last bytes, mixed with what is next to them.
        start = 4 * (len(before.encode()) // 3)
        assert len(left.replace("(hidden)", "")) <= start + 4 + 4


def test_short_words_are_no_secrets_and_the_rest_of_a_text_stays() -> None:
    assert Redaction(["none", ""])("none of it") == "none of it"
    hide = Redaction(["abcdefgh12345678"])
    assert hide("abcdefg 2345678 abcdefgX12345678.") == "abcdefg 2345678 abcdefgX(hidden)."
    assert hide("") == ""
    assert hide("abcdefgh12345678" * 2) == "(hidden)(hidden)"


def test_messages_of_others_have_no_secrets_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # A message that hides nothing, for comparison.
    assert one_line(ValueError("401: got\n openai_api_key-0123456789")) == "401: got openai_api_key-0123456789"
    for name in (*KEYS.values(), "WINNOW_INFERENCE_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, f"{name.lower()}-0123456789")
        said = one_line(ValueError(f"401: got {name.lower()}-0123456789\n in the header"))
        assert said == "401: got (hidden) in the header"
