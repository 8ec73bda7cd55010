"""What a provider may do wrong."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.web.oidc_provider import Provider
from tests.jobs.web.oidc_tries import forget_tries, linked, signed_in
from tests.jobs.web.served import API, Site
from tests.openid_provider import CLIENT, SECRET, ProviderProcess

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"signer": "nobody"}, "no key of the provider"),
        ({"signer": "secret"}, "no key of the provider"),
        ({"signer": "public key as secret"}, "no key of the provider"),
        ({"signer": "foreign"}, "no key of the provider"),
        ({"claims": {"iss": "https://evil.example"}}, "another issuer"),
        ({"claims": {"aud": "another-program"}}, "another program"),
        ({"claims": {"aud": [CLIENT, "another-program"]}}, "another program"),
        ({"claims": {"azp": "another-program"}}, "another program"),
        ({"claims": {"nonce": "of-another-try"}}, "another try"),
        ({"claims": {"nonce": None}}, "another try"),
        ({"claims": {"exp": 1_700_000_000}}, "too old"),
        ({"claims": {"exp": None}}, "too old"),
        ({"claims": {"exp": True}}, "too old"),
        ({"claims": {"iat": 4_000_000_000}}, "of the future"),
        ({"claims": {"sub": None}}, "no subject"),
        ({"claims": {"sub": ""}}, "no subject"),
        ({"claims": {"sub": "x" * 256}}, "no subject"),
        ({"claims": {"sub": ["known"]}}, "no subject"),
        ({"refuses": "invalid_grant"}, "invalid_grant"),
        ({"refuses": f"<b>{SECRET}</b>"}, "status 400"),
    ],
    ids=str,
)
def test_what_is_wrong_with_an_identity_signs_nobody_in(
    openid_site: Site, openid: ProviderProcess, wrong: dict[str, Any], said: str
) -> None:
    linked(openid_site, "known")
    openid.control(**wrong)
    forget_tries(openid_site)
    answer = signed_in(openid_site, openid, "known")
    assert answer.status_code == 401, answer.text
    (line,) = answer.json()["lines"]
    assert said in line
    assert SECRET not in answer.text
    openid.control()
    forget_tries(openid_site)
    assert signed_in(openid_site, openid, "known").status_code == 200


def test_after_five_refusals_one_try_a_minute(openid_site: Site, openid: ProviderProcess) -> None:
    forget_tries(openid_site)
    openid.control(refuses="invalid_grant")
    statuses = [signed_in(openid_site, openid, "known").status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    forget_tries(openid_site)


def test_new_keys_of_the_provider_are_fetched_once_they_sign(openid_site: Site, openid: ProviderProcess) -> None:
    linked(openid_site, "known")
    assert signed_in(openid_site, openid, "known").status_code == 200
    openid.control(signer="second", published=["second"])
    forget_tries(openid_site)
    assert signed_in(openid_site, openid, "known").status_code == 401, "its keys were fetched within the last minute"
    openid_site.app.state.provider._keys_at -= 61
    assert signed_in(openid_site, openid, "known").status_code == 200
    before = openid.seen()["counts"]["/keys"]
    assert signed_in(openid_site, openid, "known").status_code == 200
    assert openid.seen()["counts"]["/keys"] == before
    forget_tries(openid_site)


@pytest.mark.parametrize(
    "wrong",
    [
        {"redirect": "http://127.0.0.1:1/elsewhere"},
        {"bytes": (1 << 20) + 1},
        {"bytes": 10},
        {"description": {"issuer": "https://evil.example"}},
        {"description": {"token_endpoint": "http://169.254.169.254/latest"}},
        {"description": {"token_endpoint": "file:///etc/passwd"}},
        {"description": {"authorization_endpoint": "javascript:alert(1)"}},
        {"description": {"jwks_uri": "https://user:password@example.org/keys"}},
        {"description": {"jwks_uri": 7}},
        {"description": {"code_challenge_methods_supported": ["plain"]}},
    ],
    ids=str,
)
def test_a_description_that_is_not_right_is_not_followed(
    openid_site: Site, openid: ProviderProcess, wrong: dict[str, Any]
) -> None:
    openid.control(**wrong)
    with openid_site.browser() as client:
        answer = client.post(f"{API}/session/oidc", json={"purpose": "sign_in"})
    assert answer.status_code == 503, answer.text
    assert answer.json()["lines"][0].startswith("Harbour")
    assert "set-cookie" not in answer.headers


def test_who_names_itself_on_the_way_back_is_compared(openid_site: Site, openid: ProviderProcess) -> None:
    linked(openid_site, "known")
    for iss, status in (("https://evil.example", 401), (openid.issuer, 200)):
        openid.control(iss=iss)
        assert signed_in(openid_site, openid, "known").status_code == status
    openid.control(names_itself=True)
    openid_site.app.state.provider = Provider(openid_site.app.state.provider.settings)
    assert signed_in(openid_site, openid, "known").status_code == 401
    forget_tries(openid_site)


def test_the_secret_goes_the_way_that_the_provider_takes(openid_site: Site, openid: ProviderProcess) -> None:
    linked(openid_site, "known")
    openid.control(auth_method="client_secret_post")
    assert signed_in(openid_site, openid, "known").status_code == 200
    assert openid.seen()["token"]["form"]["client_secret"] == SECRET
    assert openid.seen()["token"]["authorization"] is None
