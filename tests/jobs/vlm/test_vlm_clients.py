from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from jobs.core.optional_packages import missing
from jobs.vlm.vlm_clients import PACKAGES, Client, EndpointError, connect, retry_after_s
from tests.endpoints import WRAPS, Bad, Endpoint, endpoint
from tests.waiting import PATIENCE_S, wait_until
from transforms.assess.escalation import Api, EscalateParams, question, read_answer

KEY = "sk-very-secret-key"
ASKED = question([], ("person",), 80, 60, 1024)
JPEG = b"\xff\xd8\xff\xe0picture"


@pytest.fixture(params=sorted(PACKAGES))
def api(request: pytest.FixtureRequest) -> Api:
    name: Api = request.param
    if missing("vlm", PACKAGES[name]):
        pytest.skip("the extra `vlm` is not installed")
    return name


@pytest.fixture
def there(api: Api) -> Iterator[Endpoint]:
    with endpoint(WRAPS[api]) as found:
        yield found


@pytest.fixture
def client(api: Api, there: Endpoint) -> Client:
    return connected(api, there, PATIENCE_S)


def connected(api: Api, there: Endpoint, timeout_s: float) -> Client:
    url = f"{there.url}/v1" if api == "openai" else there.url
    return connect(EscalateParams(api=api, url=url, model="the-model", timeout_s=timeout_s), KEY)


def test_requests_and_answers_of_every_api(api: Api, there: Endpoint, client: Client) -> None:
    reply = client.ask(ASKED, JPEG)
    assert (read_answer(reply.text, ASKED).objects, reply.tokens_in, reply.tokens_out) == ([], 1000, 100)
    (request,), (headers,) = there.asked, there.headers
    text = json.dumps(request)
    assert "/9j/4HBpY3R1cmU" in text.replace("_9j_", "/9j/")
    assert '"annotation' not in text
    assert "image/jpeg" in text
    assert "You check the work" in text
    assert '"verdict"' in text
    assert KEY in json.dumps(headers)
    paths = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
    assert headers["path"].endswith(paths.get(api, "/models/the-model:generateContent"))


@pytest.mark.parametrize(
    ("bad", "again", "wait_s", "for_all"),
    [
        (Bad(429, {"Retry-After": "7"}), True, 7.0, False),
        (Bad(503), True, None, False),
        (Bad(400), False, None, False),
        (Bad(401), False, None, True),
        (Bad(half=True), True, None, False),
        (Bad(after=2), True, None, False),
    ],
    ids=["429", "503", "400", "401", "half a body", "too late"],
)
def test_failures_of_every_api_become_endpoint_errors(
    api: Api, there: Endpoint, client: Client, bad: Bad, again: bool, wait_s: float | None, for_all: bool
) -> None:
    there.bad.append(bad)
    if bad.after:
        client = connected(api, there, 1.0)
    with pytest.raises(EndpointError) as caught:
        client.ask(ASKED, JPEG)
    error = caught.value
    assert (error.again, error.wait_s, error.for_all) == (again, wait_s, for_all)
    assert (KEY in str(error), error.__context__, len(there.asked)) == (False, None, 1)
    # The next one finds the endpoint well. A wait of no longer than a second may miss that on a busy machine.
    assert wait_until(lambda: tokens_in(client) if bad.after else client.ask(ASKED, JPEG).tokens_in) == 1000


def tokens_in(client: Client) -> int:
    """Return what a question cost that may be answered too late; 0 where it was."""
    try:
        return client.ask(ASKED, JPEG).tokens_in or 0
    except EndpointError as error:
        if not error.again:
            raise
        return 0


def test_an_answer_that_is_no_json_is_returned_as_text(there: Endpoint, client: Client) -> None:
    there.bad.append(Bad(text="I see a dog."))
    reply = client.ask(ASKED, JPEG)
    assert reply.tokens_out == 100
    with pytest.raises(ValueError, match="JSON"):
        read_answer(reply.text, ASKED)


def test_answers_never_contain_a_key(there: Endpoint, client: Client) -> None:
    there.bad.append(Bad(text=json.dumps({"echo": f"Bearer {KEY}"})))
    reply = client.ask(ASKED, JPEG)
    assert (KEY in reply.text, "Bearer (hidden)" in reply.text) == (False, True)


def test_validation_errors_do_not_quote_the_answer(there: Endpoint, client: Client) -> None:
    reported = []
    fields = ("usage", "choices", "candidates", "usageMetadata", "content")
    for body in (dict.fromkeys(fields, f"Bearer {KEY}"), [KEY], KEY):
        there.bad.append(Bad(body=body))
        try:
            reported.append(client.ask(ASKED, JPEG).text)
        except EndpointError as error:
            reported.append(str(error))
    # Nor the parts of it that a quotation would break off at.
    assert [text for text in reported if KEY[:12] in text or KEY[-12:] in text] == []
    assert any(reported)


def test_an_unreachable_endpoint_is_an_error(api: Api) -> None:
    client = connect(EscalateParams(api=api, url="http://127.0.0.1:9", model="m", timeout_s=1.0), None)
    with pytest.raises(EndpointError) as caught:
        client.ask(ASKED, JPEG)
    assert caught.value.again


def test_retry_after_is_parsed() -> None:
    assert retry_after_s({"retry-after": "2.5"}) == 2.5
    assert retry_after_s({"Retry-After": "-1"}) == 0
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < (retry_after_s({"retry-after": later}) or 0) <= 100
    assert [retry_after_s({}), retry_after_s({"retry-after": "soon"})] == [None, None]


@pytest.mark.parametrize("count", [-1, "many", 10**30, 1.5, {}])
def test_a_count_of_tokens_that_cannot_be_is_not_believed(
    api: Api, there: Endpoint, client: Client, count: object
) -> None:
    body = WRAPS[api](json.dumps({"objects": [], "missing": []}))
    usage = body.get("usage") or body["usageMetadata"]
    usage |= dict.fromkeys(usage, count)
    there.bad.append(Bad(body=body))
    if api == "gemini" and type(count) is not int:
        with pytest.raises(EndpointError, match="ValidationError"):
            client.ask(ASKED, JPEG)
        return
    reply = client.ask(ASKED, JPEG)
    assert read_answer(reply.text, ASKED).objects == []
    assert (reply.tokens_in, reply.tokens_out) == (None, None)
