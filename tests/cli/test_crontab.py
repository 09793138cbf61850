"""Crontabs as text: what crontab(5) says a line is, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anysched.cli.crontab import CrontabEntry, parse_crontab
from anysched.cli.failures import InvalidCrontab
from anysched.schedules import Cron, Every

EXAMPLE = Path(__file__).parents[2] / "examples" / "crontab" / "crontab"


def only(text: str) -> CrontabEntry:
    (entry,) = parse_crontab(text).entries
    return entry


def test_a_line_is_five_fields_and_a_command() -> None:
    """Blanks and tabs separate the fields; the rest of the line is the command, as it stands."""
    entry = only("  0\t8 *  * mon-fri   /usr/bin/digest --to  'ada' # no comment\n")

    assert Cron("0 8 * * mon-fri") == entry.schedule
    assert "/usr/bin/digest --to  'ada' # no comment" == entry.command
    assert entry.input is None


@pytest.mark.parametrize("name", ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"])
def test_a_nickname_stands_for_five_fields(name: str) -> None:
    """The names of crontab(5) are followed by the command at once."""
    entry = only(f"{name} echo")

    assert (Cron(name), "echo") == (entry.schedule, entry.command)


def test_a_period_may_be_given() -> None:
    """``@every`` and a length of time, as in other cron libraries."""
    entry = only("@every 1h30m  echo now")

    assert (Every("1h30m"), "echo now") == (entry.schedule, entry.command)


def test_comments_and_blank_lines_are_nothing() -> None:
    """A comment may be indented; carriage returns at the end of lines are blanks."""
    assert () == parse_crontab("\n# one\r\n   # two\n\t\n\r\n").entries
    assert "echo" == only("@daily echo\r\n").command


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("NAME = value  ", "value"),
        ("  NAME=two words", "two words"),
        ('NAME="  kept  "', "  kept  "),
        ("NAME='it is'", "it is"),
        ("NAME=", ""),
        ('NAME=""', ""),
        ("NAME=$HOME/bin", "$HOME/bin"),
        ("NAME=\"half'", "\"half'"),
        ("'NAME'=quoted", "quoted"),
        ("NAME=a=b", "a=b"),
    ],
)
def test_settings_are_read_as_by_cron(line: str, value: str) -> None:
    """Blanks around the sign and at the ends go, unless in quotes; nothing is expanded."""
    assert {"NAME": value} == only(f"{line}\n@daily echo").environment


def test_a_setting_holds_for_what_is_below() -> None:
    """Entries above it do not have it, and a later one replaces it."""
    first, second, third = parse_crontab("@daily a\nA=1\n@daily b\nA=2\nB=3\n@daily c\n").entries

    assert [{}, {"A": "1"}, {"A": "2", "B": "3"}] == [first.environment, second.environment, third.environment]


def test_a_zone_holds_for_what_is_below() -> None:
    """``CRON_TZ`` is no part of the environment; an empty one gives the zone up again."""
    text = "0 8 * * * a\nCRON_TZ=Europe/Berlin\n0 8 * * * b\nCRON_TZ=\n0 8 * * * c\nTZ=Asia/Tokyo\n0 8 * * * d\n"
    entries = parse_crontab(text).entries
    noon = datetime(2026, 7, 1, tzinfo=UTC)
    hours = [entry.schedule.next_after(noon).astimezone(UTC).hour for entry in entries]  # type: ignore[union-attr] - none is None

    assert [8, 6, 8, 8] == hours
    assert [{}, {}, {}, {"TZ": "Asia/Tokyo"}] == [entry.environment for entry in entries]


@pytest.mark.parametrize(
    ("rest", "command", "given"),
    [
        ("cat", "cat", None),
        ("cat%", "cat", ""),
        ("cat%one", "cat", "one\n"),
        ("cat %one%two", "cat", "one\ntwo\n"),
        ("cat%one%", "cat", "one\n"),
        (r"date +\%H:\%M", "date +%H:%M", None),
        (r"cat%100\%%", "cat", "100%\n"),
        (r"echo a\b", r"echo a\b", None),
        (r"echo \\%x", r"echo \\", "x\n"),
    ],
)
def test_percent_signs_are_as_in_cron(rest: str, command: str, given: str | None) -> None:
    """The first ends the command, the others are newlines of its input, one with a backslash is a percent sign."""
    entry = only(f"@daily {rest}")

    assert (command, given) == (entry.command, entry.input)


def test_mail_is_ignored_with_a_warning() -> None:
    """There is none; an empty ``MAILTO``, which asks for none, is what it gets."""
    crontab = parse_crontab('MAILTO=""\nMAILTO=ada\nMAILFROM=cron\n@daily a\n')

    assert [2, 3] == [number for number, _ in crontab.warnings]
    assert {} == crontab.entries[0].environment


def test_an_id_is_the_time_and_the_command() -> None:
    """Lines may change places and settings may change; equal lines are numbered."""
    before = parse_crontab("@daily a\n@daily a\n0 1 * * * /bin/b x\n").entries
    after = parse_crontab("# moved\nA=1\n0 1 * * *   /bin/b x\n@daily a\n@daily a\n").entries
    ids = [entry.id for entry in before]

    assert set(ids) == {entry.id for entry in after}
    assert 3 == len(set(ids))
    assert ids[0] + ":2" == ids[1]
    assert ids[2].startswith("crontab:b:")
    assert ids[0] != only("CRON_TZ=Asia/Tokyo\n@daily a").id


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("* * * *", "not five fields"),
        ("* * * * *", "no command"),
        ("* * * * * %input only", "no command"),
        ("@daily", "no command"),
        ("@every 5m", "no command"),
        ("@every soon echo", "soon"),
        ("61 * * * * echo", "minute '61'"),
        ("@nope echo", "@nope"),
        ("@reboot echo", "@reboot is refused"),
        ("word", "not five fields"),
        ("2FAST=1", "not five fields"),
        ("CRON_TZ=Nowhere/Land", "Nowhere/Land"),
        ("@daily a\0b", "no text"),
        ("@daily a\ud800", "no text"),
        ("@daily " + "x" * 70_000, "more than 65536"),
    ],
)
def test_a_malformed_line_is_refused_with_its_number(line: str, complaint: str) -> None:
    """It is named together with all others that are malformed."""
    with pytest.raises(InvalidCrontab) as caught:
        parse_crontab(f"# fine\n@daily fine\n{line}\n* nonsense\n", name="my.tab")

    assert [3, 4] == [number for number, _ in caught.value.problems]
    assert complaint in caught.value.problems[0][1]
    assert str(caught.value).startswith("my.tab is malformed, and nothing was started: line 3: ")


@given(st.text() | st.text(alphabet="*/0159-,%\\@=#\"' \t\n\rdailyevrCRON_TZ").map(lambda text: f"* * * * * {text}"))
def test_no_text_gives_another_error(text: str) -> None:
    """Whatever a file says, it is read, or refused with the numbers of lines that are there."""
    lines = text.count("\n") + 1

    try:
        entries, problems = parse_crontab(text).entries, ()
    except InvalidCrontab as error:
        entries, problems = (), error.problems

    assert all(1 <= number <= lines for number, _ in problems)
    assert len(entries) == len({entry.id for entry in entries})
    assert all(entry.command for entry in entries)


def test_the_example_is_fine() -> None:
    """The crontab among the examples can be read, without a warning."""
    crontab = parse_crontab(EXAMPLE.read_text())

    assert () == crontab.warnings
    assert 6 <= len(crontab.entries)
