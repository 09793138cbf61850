"""Errors: what they are made of goes with them."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from anysched import errors, retry
from anysched.errors import AnySchedError, InvalidOption
from anysched.run import AttemptError

SAMPLES: dict[str, Any] = {
    "str": "some",
    "int": 5,
    "object": {"a": [1]},
    "Any": AttemptError("builtins.ValueError", "broken", "..."),
    "list[str]": ["b", "a"],
    "Duration": "90s",
}


def kinds_of(module: Any) -> list[type[AnySchedError]]:
    found = [
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    ]
    return [kind for kind in found if issubclass(kind, AnySchedError)]


def sample(kind: type[AnySchedError]) -> AnySchedError:
    """An error of this kind, with each of its arguments given."""
    if not inspect.isfunction(kind.__init__):
        return kind("a message")

    args: list[Any] = []
    kwargs: dict[str, Any] = {}

    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[name] = SAMPLES[parameter.annotation]
        else:
            args.append(SAMPLES[parameter.annotation])

    return kind(*args, **kwargs)


class TheirError(InvalidOption):
    """A user's, made of other arguments than those of ours that it is made from."""

    def __init__(self, colour: str) -> None:
        super().__init__("colour", colour, "red")
        self.colour = colour


def known_by(error: AnySchedError) -> tuple[Any, ...]:
    built_in = [getattr(error, name, None) for name in ("msg", "errno", "strerror", "__notes__")]
    return type(error), str(error), error.args, error.__dict__, built_in


def through_pickle(error: AnySchedError) -> AnySchedError:
    return pickle.loads(pickle.dumps(error))


@pytest.mark.parametrize("way", [through_pickle, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", [*kinds_of(errors), *kinds_of(retry), TheirError])
def test_an_error_comes_back_as_it_was(kind: type[AnySchedError], way: Any) -> None:
    """From another process, and from a copy: its kind, message, attributes and notes.

    Break: by default the message is taken for the arguments, so that it is doubled, or nothing comes back at all.
    """
    error = sample(kind)
    error.add_note("on Tuesdays")

    assert known_by(error) == known_by(way(error))


def test_every_error_that_is_exported_is_tried() -> None:
    """None is left out above."""
    assert set(errors.__all__) == {kind.__name__ for kind in kinds_of(errors)}
