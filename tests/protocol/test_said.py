"""What a user says and shows, as one text with places in it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolwire.protocol.blob import Blob, type_of
from toolwire.protocol.failures import Misuse
from toolwire.protocol.said import Piece, Said, meant, pieces, said, too_large

blobs = st.builds(Blob, st.just("image/png"), st.binary(min_size=1, max_size=2))
told = st.lists(st.text(max_size=4) | blobs, max_size=6)
PNG = Blob("image/png", b"x")


@given(told)
def test_what_is_said_in_pieces_comes_back_in_pieces(given_: list[Piece]) -> None:
    merged: list[Piece] = []
    for piece in given_:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        elif piece:
            merged.append(piece)
    assert pieces(*said(given_)) == merged
    assert said(pieces(*said(given_))) == said(given_)


@given(st.text(max_size=5), st.lists(blobs, max_size=3), st.lists(st.integers(-9, 9), max_size=4))
def test_places_that_lie_lose_nothing(text: str, shown: list[Blob], places: list[int]) -> None:
    found = pieces(text, shown, places)
    assert "".join(piece for piece in found if isinstance(piece, str)) == text
    assert [piece for piece in found if isinstance(piece, Blob)] == shown


def test_a_program_says_a_text_and_shows_blobs_with_it() -> None:
    assert meant("What is this?", [PNG]) == Said("What is this?", (PNG,))
    words = meant(["Compare", PNG, "with ", PNG, "please"], [PNG])
    assert words == Said("Compare with please", (PNG, PNG, PNG), (7, 13, 19))
    assert meant([PNG], ()) == Said("", (PNG,))


@pytest.mark.parametrize(
    "words", [7, None, [7], ["a", b"b"], [Blob("image/png")], [Blob("a/b", b"x", url="https://x")]]
)
def test_what_can_not_be_said_is_refused_with_what_can(words: Any) -> None:
    with pytest.raises(Misuse, match=r"is said is a text|either bytes or a url"):
        meant(words, ())


@pytest.mark.parametrize(
    ("blob", "instead"),
    [
        ((None, b"x"), 'media type, such as "image/png", not None'),
        (("png", b"x"), "media type, such as \"image/png\", not 'png'"),
        (("image/png\r\nX", b"x"), "media type"),
        (("image/jpg", b"x"), 'such as "image/jpeg"'),
        (("image/png", "chart.png"), r"Blob.from_file\(path\)"),
        (("image/png", b"x", None), "are texts"),
        (("image/png", b"", "", "file:///etc/passwd"), r"https://.*file:///etc/passwd.*bytes"),
        (("image/png", b"", "", "data:image/png;base64,eA=="), "show the bytes"),
        (("image/png", b"", "", "javascript:alert(1)"), "https://"),
    ],
)
def test_a_blob_that_no_provider_would_take_is_refused_with_what_it_would(blob: Any, instead: str) -> None:
    with pytest.raises(Misuse, match=instead):
        meant("look", [Blob(*blob)])


@pytest.mark.parametrize("url", ["https://x.y/z", "HTTP://x.y/z", "gs://a/b"])
@pytest.mark.parametrize("kind", ["image/*", "text/plain; charset=utf-8", "application/vnd.ms-excel"])
def test_a_blob_may_lead_where_providers_go(kind: str, url: str) -> None:
    assert meant([Blob(kind, url=url)], ()).blobs == (Blob(kind, url=url),)


def test_too_much_is_refused_by_its_bytes() -> None:
    assert too_large([PNG, Blob("a/b", url="https://x")], 1) is None
    failure = too_large([PNG, PNG], 1)
    assert failure is not None
    assert (failure.code, failure.details) == ("too_large", {"size": 2, "limit": 1})


def test_a_file_is_what_its_name_says(tmp_path: Path) -> None:
    path = tmp_path / "chart.PNG"
    path.write_bytes(b"\x89PNG")
    assert Blob.from_file(path) == Blob("image/png", b"\x89PNG", "chart.PNG")
    odd = path.rename(tmp_path / "chart")
    assert Blob.from_file(odd, "image/webp").media_type == "image/webp"
    with pytest.raises(Misuse, match="media_type="):
        Blob.from_file(odd)
    with pytest.raises(Misuse, match=r"pathlib\.Path"):
        Blob.from_file(str(odd))  # type: ignore[arg-type]  # what is refused


def test_a_url_tells_its_type_by_its_end() -> None:
    assert type_of("https://x.y/a.b/c.JPG?size=1#top") == "image/jpeg"
    assert type_of("https://x.png/c") == ""


def test_a_blob_shows_no_bytes() -> None:
    assert repr(Blob("image/png", b"secret", "a.png")) == "<Blob image/png 6 bytes 'a.png'>"
    assert repr(Blob("image/png", url="https://x.y/z")) == "<Blob image/png https://x.y/z>"
    assert len(repr(Blob("image/png", url=f"data:image/png;base64,{'A' * 999}"))) < 300
