"""Requests in the protocol's bytes, with hiredis and without."""

from __future__ import annotations

import pytest

from anysched.backends.redis import packing
from anysched.backends.redis.packing import pack


@pytest.fixture(params=["hiredis", "python"])
def packed_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(packing, "_pack_command", None)


@pytest.mark.usefixtures("packed_by")
def test_a_request_is_packed_as_the_protocol_has_it() -> None:
    """Texts, bytes and numbers; lengths are of bytes."""
    assert b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa4\r\n$2\r\n-7\r\n" == pack(("SET", "ä", -7))
    assert b"*1\r\n$2\r\n\xff\x00\r\n" == pack([b"\xff\x00"])
    assert b"*2\r\n$0\r\n\r\n$16\r\n9007199254740991\r\n" == pack(("", 9007199254740991))


@pytest.mark.usefixtures("packed_by")
def test_a_text_that_has_no_bytes_is_told() -> None:
    """A lone surrogate."""
    with pytest.raises(UnicodeEncodeError):
        pack(("SET", "\ud800"))
