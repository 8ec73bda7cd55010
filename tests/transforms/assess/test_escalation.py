from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest

from tests.transforms.formats.exports.material import annotation
from transforms.assess.escalation import Answer, Api, EscalateParams, as_jpeg, most_tokens, question, read_answer

CATEGORIES = ("person", "dog")
ROWS = [annotation(1, "cam", 3, "person", 0.5, 10, 6, 20, 12), annotation(2, "cam", 3, "dog", 0.75, 70, 0, 20, 60)]


def answer(*verdicts: tuple[int, str, str | None], missing: tuple[str, ...] = ()) -> str:
    objects = [{"number": n, "verdict": v, "category": c} for n, v, c in verdicts]
    return json.dumps({"objects": objects, "missing": list(missing)})


def test_a_question_shows_boxes_by_number_and_not_by_id() -> None:
    asked = question(ROWS, CATEGORIES, 80, 60, 1024)
    assert asked.ids == (f"{2:032x}", f"{1:032x}")
    assert [(s["number"], s["box"]) for s in asked.shown] == [(1, [875, 0, 1000, 1000]), (2, [125, 100, 375, 300])]
    assert f"{1:032x}" not in asked.text
    assert question(ROWS[::-1], CATEGORIES, 80, 60, 1024) == asked
    assert most_tokens(asked, 80, 60) > 80 * 60 / 750


def test_the_same_question_has_the_same_id() -> None:
    asked = question(ROWS, CATEGORIES, 80, 60, 1024)
    others: list[Any] = [
        question(ROWS[:1], CATEGORIES, 80, 60, 1024),
        question(ROWS, CATEGORIES[:1], 80, 60, 1024),
        question(ROWS, CATEGORIES, 80, 60, 512),
    ]
    ids = [asked.call_id("m", "aa"), asked.call_id("n", "aa"), asked.call_id("m", "bb")]
    ids += [other.call_id("m", "aa") for other in others]
    assert len(set(ids)) == len(ids)
    # Another configuration with the same detections gives the same prompt.
    renamed = [{**row, "annotation_id": f"{at + 7:032x}"} for at, row in enumerate(ROWS)]
    assert question(renamed, CATEGORIES, 80, 60, 1024).call_id("m", "aa") == ids[0]


def test_an_answer_has_a_verdict_on_each_object() -> None:
    asked = question(ROWS, CATEGORIES, 80, 60, 1024)
    given = read_answer(answer((2, "drop", None), (1, "relabel", "person"), missing=("dog",)), asked)
    assert asked.verdicts(given) == [
        {"annotation_id": f"{2:032x}", "verdict": "relabel", "category": "person"},
        {"annotation_id": f"{1:032x}", "verdict": "drop", "category": None},
    ]
    assert read_answer(answer(), question([], CATEGORIES, 80, 60, 1024)) == Answer(objects=[], missing=[])


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("no JSON", "Invalid JSON"),
        ('{"objects": []}', "missing"),
        (answer((1, "keep", None)), "a verdict on each of 2 boxes"),
        (answer((1, "keep", None), (1, "keep", None)), "a verdict on each of 2 boxes"),
        (answer((1, "keep", None), (2, "burn", None)), "keep"),
        (answer((1, "keep", None), (2, "relabel", "zebra")), "zebra"),
        (answer((1, "keep", None), (2, "relabel", None)), "None"),
        (answer((1, "keep", None), (2, "keep", None), missing=("ghost",)), "ghost"),
        (answer((1, "keep", None), (2, "keep", None))[:-9], "Invalid JSON"),
    ],
)
def test_invalid_answers_are_refused(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        read_answer(text, question(ROWS, CATEGORIES, 80, 60, 1024))


def test_images_are_reduced_and_never_enlarged() -> None:
    for side, expected in ((40, (20, 40)), (1024, (60, 120))):
        data = np.frombuffer(as_jpeg(np.zeros((60, 120, 3), np.uint8), side), np.uint8)
        assert np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)).shape[:2] == expected


@pytest.mark.parametrize(
    ("url", "local"),
    [
        (None, False),
        ("https://api.groq.com/openai/v1", False),
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("http://192.168.1.7:8000", True),
        ("http://gpu-host:8000", True),
        ("http://8.8.8.8/v1", False),
        ("http://box.local/v1", True),
        # Other notations of 8.8.8.8 and 127.0.0.1, and names that resolvers read as numbers.
        ("http://134744072/v1", False),
        ("http://0x08080808/v1", False),
        ("http://010.8.8.8/v1", False),
        ("http://8.526344/v1", False),
        ("http://[::ffff:8.8.8.8]/v1", False),
        ("http://\uff11\uff13\uff14\uff17\uff14\uff14\uff10\uff17\uff12/v1", False),
        ("http://8\u30028\u30028\u30028/v1", False),
        ("http://2130706433/v1", True),
        ("http://[::ffff:10.0.0.1]/v1", True),
    ],
)
def test_local_addresses_are_recognised(url: str | None, local: bool) -> None:
    assert EscalateParams(url=url).is_local is local


def test_messages_never_show_a_possible_key() -> None:
    secret = "sk-very-secret"
    wrong = EscalateParams(url=f"https://user:{secret}@host.example/v1", key_env=secret)
    problems = list(wrong.problems())
    assert len(problems) == 4, problems
    assert secret not in " ".join(problems)
    assert set(wrong.unsafe()) < set(problems)
    assert list(EscalateParams(model="m", usd_in=1, usd_out=5).problems()) == []
    assert list(EscalateParams(model="m", url="http://localhost:1/v1").problems()) == []
    assert list(EscalateParams(model="m", url=f"http://localhost/v1?key={secret}").problems())


@pytest.mark.parametrize(
    ("api", "url", "key_env", "sent", "fault"),
    [
        ("openai", None, None, "OPENAI_API_KEY", None),
        ("openai", "https://api.openai.com/v1", None, "OPENAI_API_KEY", None),
        ("openai", "http://localhost:8000/v1", None, None, None),
        ("openai", "https://models.example/v1", None, None, "expected the name of the variable"),
        ("openai", "https://models.example/v1", "EXAMPLE_KEY", "EXAMPLE_KEY", None),
        ("openai", "https://models.example/v1", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", None),
        ("openai", "https://models.example/v1", "OPENAI_API_KEY", "OPENAI_API_KEY", "the secret of another service"),
        ("openai", None, "GEMINI_API_KEY", "GEMINI_API_KEY", "the secret of another service"),
        ("gemini", "http://localhost:1", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "another service"),
        ("gemini", None, "WINNOW_CONTROL_TOKEN", "WINNOW_CONTROL_TOKEN", "another service"),
        ("anthropic", None, "MY_DB_PASSWORD", "MY_DB_PASSWORD", "another service"),
    ],
)
def test_a_key_goes_to_its_own_endpoint(
    api: Api, url: str | None, key_env: str | None, sent: str | None, fault: str | None
) -> None:
    params = EscalateParams(api=api, url=url, model="m", key_env=key_env, usd_in=1, usd_out=1)
    assert params.key_name == sent
    problems = list(params.problems())
    assert (len(problems), fault is None or fault in problems[0]) == (int(fault is not None), True)
