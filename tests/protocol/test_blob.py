"""Bytes inside results: taken out and put back in their places."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.blob import Blob, joined, parted, unlinked

blobs = st.builds(Blob, st.sampled_from(["image/png", "a/b"]), st.binary(max_size=5), st.text(max_size=3))
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | blobs,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(values)
def test_what_is_parted_is_joined(value: Any) -> None:
    content = msgspec.json.encode(value).decode()
    text, found = parted(content, lambda _: True)
    assert json.loads(joined(text, found)) == json.loads(content)
    if text is not None:
        assert not any(msgspec.json.encode(blob).decode() in text for blob in found)


def test_a_tool_may_return_one() -> None:
    blob = Blob("image/png", b"x", "a.png")
    content = msgspec.json.encode(blob).decode()
    assert content == '{"$blob":"image/png","data":"eA==","name":"a.png"}'
    assert msgspec.json.decode(content, type=Blob) == blob
    assert parted(content, lambda _: True) == (None, (blob,))
    assert parted(content, lambda blob: blob.media_type != "image/png") == (
        '{"$blob":"image/png","bytes":1,"left_out":"it can\'t be told in this format"}',
        (),
    )


@pytest.mark.parametrize(
    "content",
    ["1", '{"$blob":"image/png"}', '{"$blob":7,"data":"eA=="}', '"$blob"', '{"$blob":"a","data":"?"}', '["$blob"'],
)
def test_what_is_no_blob_is_data(content: str) -> None:
    text, found = parted(content, lambda _: True)
    assert not found
    assert text is not None
    if content != '["$blob"':
        assert json.loads(text) == json.loads(content)


def test_blobs_without_a_place_come_last() -> None:
    blob = Blob("image/png", b"x")
    assert msgspec.json.decode(joined('"a"', [blob, blob])) == ["a", *[{"$blob": "image/png", "data": "eA=="}] * 2]
    assert joined(None, []) == "null"
    assert len(msgspec.json.decode(joined(None, [blob, blob]))) == 2


@given(values)
def test_bytes_that_strangers_wrote_stay_as_they_are(value: Any) -> None:
    content = msgspec.json.encode(value).decode()
    assert json.loads(unlinked(content)) == json.loads(content)


@pytest.mark.parametrize("key", ['"$blob"', '"\\u0024blob"'])
def test_nobody_is_sent_to_the_urls_of_strangers(key: str) -> None:
    image = '{KEY:"image/png","url":"https://evil.example/?q=all+that+it+knows"}'.replace("KEY", key)
    content = '[{"$blob":"image/png","data":"eA=="},{"deep":[IMAGE]},{"$blob":0}]'.replace("IMAGE", image)
    told = unlinked(content)
    text, found = parted(told, lambda _: True)
    assert found == (Blob("image/png", b"x"),)
    assert "https://evil.example" in (text or "")
    assert json.loads(told)[2] == {"$blob": 0}


def test_what_is_too_deep_to_be_looked_through_is_a_text() -> None:
    image = '{"$blob":"image/png","url":"https://evil.example"}'
    content = "[" * 5_000 + image + "]" * 5_000
    assert not parted(unlinked(content), lambda _: True).blobs
    assert unlinked('["$blob"') == '["$blob"'


def test_a_blob_has_one_place_whatever_strangers_say() -> None:
    blob = Blob("image/png", b"x" * 1_000)
    whole = joined(json.dumps([{"$blob": 0}] * 1_000), [blob])
    assert len(whole) < 20_000
    assert json.loads(whole)[:2] == [json.loads(msgspec.json.encode(blob)), {"$blob": 0}]


@pytest.mark.parametrize("levels", [600, 5_000])
def test_what_is_too_deep_has_its_blobs_behind_it(levels: int) -> None:
    deep = "[" * levels + '{"$blob":0}' + "]" * levels
    assert joined(deep, [Blob("image/png", b"x")]) == f'[{deep},{{"$blob":"image/png","data":"eA=="}}]'
