"""Lets mkdocstrings read the cross-references that the docstrings use: ``:class:`Run` `` becomes a link, where it can.

Loaded by mkdocs.yml as an extension of griffe, which reads the sources for mkdocstrings.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?P<kind>[a-z]+):`(?:(?P<title>[^`<]+?) ?<(?P<named>[^`>]+)>|(?P<target>[^`]+))`")
_LITERAL_BLOCK = re.compile(r"::\n\n(?= {4})")


class Roles(griffe.Extension):
    """Rewrites docstrings before they are rendered."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            text = _LITERAL_BLOCK.sub(":\n\n", obj.docstring.value)
            obj.docstring.value = _ROLE.sub(lambda role: _linked(role, obj), text)


def _linked(role: re.Match[str], obj: griffe.Object) -> str:
    target = (role["named"] or role["target"]).lstrip("~!")
    title = role["title"] or (target.rpartition(".")[2] if role["target"] and role["target"][0] == "~" else target)
    path = target if target.startswith("anysched") else _found(target, obj)
    # Optional: what the reference does not show is no link, and no warning.
    return f'<autoref identifier="{path}" optional><code>{title}</code></autoref>' if path else f"`{title}`"


def _found(target: str, obj: griffe.Object) -> str | None:
    first, _, rest = target.partition(".")

    try:
        path = obj.resolve(first)
    except griffe.NameResolutionError:
        return None

    return f"{path}.{rest}" if rest else path
