"""Ids that are made."""

from __future__ import annotations

import re

import pytest

from anysched.errors import InvalidOption
from anysched.identifiers import check_name, fire_run_id, make_node_id, make_nonce, make_run_id

NOW_MS = 1_767_225_600_000
MADE = re.compile(r"[0-9a-v]{20}")


def test_run_ids_sort_by_time() -> None:
    """As text, from 1970 to the year 3000."""
    times = [0, 1, 31, 32, 2**40 - 1, 2**40, NOW_MS, NOW_MS + 1, 2 * NOW_MS, 32_503_680_000_000]
    ids = [make_run_id(time) for time in times]

    assert sorted(ids) == ids
    assert all(MADE.fullmatch(made) for made in ids)
    assert 1 == len({made[:9] for made in (make_run_id(NOW_MS) for _ in range(100))})


def test_ids_do_not_repeat() -> None:
    """Within one millisecond neither."""
    for make in (lambda: make_run_id(NOW_MS), make_nonce, make_node_id):
        assert 10_000 == len({make() for _ in range(10_000)})


def test_all_digits_are_used() -> None:
    """The random part is as wide as it looks."""
    for place in range(9, 20):
        assert 32 == len({make_run_id(NOW_MS)[place] for _ in range(2000)})


def test_the_id_of_a_fire_is_the_same_everywhere() -> None:
    """On every node and in every version, and unlike that of any other run."""
    assert "f-qv66kvt3era0e853qj" == fire_run_id("ping", NOW_MS)
    assert 3 == len({fire_run_id("ping", NOW_MS), fire_run_id("ping", NOW_MS + 1), fire_run_id("pong", NOW_MS)})
    assert not MADE.fullmatch(fire_run_id("ping", NOW_MS))


def test_ids_are_names() -> None:
    """Whatever checks names takes them."""
    for made in (make_run_id(NOW_MS), fire_run_id("ping", NOW_MS), make_nonce(), make_node_id()):
        assert made == check_name("id", made)


@pytest.mark.parametrize("name", ["a", "mail.send", "welcome:42", "ä-ö/ü", "x" * 200, "日本", "a<b>"])
def test_a_name_may_be(name: str) -> None:
    """Anything printable without spaces and braces."""
    assert name == check_name("name", name)


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\n", "\n", "{a}", "}", "x" * 201, "\x7f", "\u2028", "\ud800", None, 5]
)
def test_a_name_may_not_be(name: object) -> None:
    """And the value is shown, shortened."""
    with pytest.raises(InvalidOption, match="expected 1 to 200 printable characters without spaces and braces"):
        check_name("name", name)
