from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests import s3
from transforms.io import object_store
from transforms.io.object_store import ChangedError, NoBucketError, StorageError


def test_an_object_is_written_read_listed_and_deleted(bucket: str) -> None:
    uri = f"{bucket}/a b/c#d%.txt"
    object_store.put(uri, b"one")
    data, entry = object_store.get(uri)
    assert (data, entry.uri, entry.size_bytes) == (b"one", uri, 3)
    assert object_store.head(uri) == entry
    object_store.put(f"{bucket}/x", b"")
    assert [e.uri for e in object_store.listing(bucket)] == [uri, f"{bucket}/x"]
    assert [e.uri for e in object_store.listing(bucket, after=uri)] == [f"{bucket}/x"]
    entries, below = object_store.children(bucket)
    assert ([e.uri for e in entries], below) == ([f"{bucket}/x"], ["a b"])
    object_store.delete([uri, f"{bucket}/never-there"])
    assert [e.uri for e in object_store.listing(bucket)] == [f"{bucket}/x"]
    with pytest.raises(FileNotFoundError):
        object_store.get(uri)


def test_conditional_writes_succeed_for_one_of_two_writers(bucket: str) -> None:
    uri = f"{bucket}/lock"
    first = object_store.put_new(uri, b"mine")
    assert first
    assert object_store.put_new(uri, b"theirs") is None
    # The response to the first request was lost, and the request is retried.
    assert object_store.put_new(uri, b"mine") == first
    second = object_store.put_over(uri, b"mine again", first)
    assert second
    assert object_store.put_over(uri, b"theirs", first) is None
    assert object_store.put_over(uri, b"mine again", first) == second
    assert object_store.put_over(f"{bucket}/none", b"x", first) is None
    assert object_store.get(uri).data == b"mine again"


def test_reading_an_object_that_has_changed_raises(bucket: str) -> None:
    uri = f"{bucket}/clip.mp4"
    object_store.put(uri, b"0123456789")
    entry = object_store.head(uri)
    assert object_store.get_range(entry, 2, 5) == b"234"
    object_store.put(uri, b"9876543210")
    with pytest.raises(ChangedError):
        object_store.get_range(entry, 2, 5)
    with pytest.raises(ValueError, match="has 10 bytes"):
        object_store.get(uri, most_bytes=9)


def test_writing_twice_within_a_second_changes_the_mtime() -> None:
    moment = datetime(2026, 11, 21, 2, 0, 0, 500_000, tzinfo=UTC)
    one, other = object_store.stamp_ns(moment, '"aa"'), object_store.stamp_ns(moment, '"ab"')
    assert one != other
    assert one // 10**9 == other // 10**9 == int(moment.timestamp())
    # Listings and responses may differ in the quotes of the tag, and in fractions of the second.
    assert one == object_store.stamp_ns(moment.replace(microsecond=0), "aa")


def test_errors_are_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(object_store.RETRIES, "0")
    with pytest.raises(NoBucketError, match=r"^there is no bucket 'no-such-bucket' at http://127"):
        object_store.get("s3://no-such-bucket/x")
    with pytest.raises(NoBucketError):
        list(object_store.listing("s3://no-such-bucket/x"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"^s3://\S+/x: http://127.0.0.1:9 did not do it after 1 tries: .{5,80}$"):
        object_store.get(f"{bucket}/x")


def test_transient_failures_are_retried(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3.flaky(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        for fault in ("throttle", "drop", "mute", "cut"):
            uri = f"{bucket}/{fault}"
            proxy.next_is(fault)
            object_store.put(uri, b"x" * 1000)
            assert object_store.get(uri).data == b"x" * 1000
            proxy.next_is(fault)
            assert object_store.get(uri).data == b"x" * 1000
            proxy.next_is(fault)
            # The store executed the request before the response was lost: the object is ours.
            assert object_store.put_new(f"{uri}-new", b"mine") is not None
            assert object_store.get(f"{uri}-new").data == b"mine"
        assert len(proxy.faults) == 12


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Generic S3 error: error reading a body from connection", object_store.BrokenOffError),
        (
            "Error performing GET http://s3/x, after 1 retries, max_retries ↳ 8 - error reading a body from connection",
            object_store.BrokenOffError,
        ),
        (
            "Error performing GET http://s3/x in 9s, after 8 retries, max_retries: 8 - error decoding response body",
            object_store.StorageError,
        ),
        (
            "Error performing PUT http://s3/x, after 8 retries - Server returned 503 Slow Down",
            object_store.StorageError,
        ),
    ],
)
def test_an_answer_that_broke_off_is_fetched_again_unless_the_client_gave_up(
    text: str, kind: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(object_store.RETRIES, raising=False)
    assert type(object_store.as_os_error(OSError(text), "s3://bucket/x")) is kind
