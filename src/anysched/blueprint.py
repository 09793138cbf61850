"""Blueprints: the jobs and entries of one part of a program, collected apart from its scheduler."""

from __future__ import annotations

from anysched.identifiers import check_name
from anysched.registry import Registry

__all__ = ["Blueprint"]


class Blueprint(Registry):
    """Collects jobs and declared entries in a module of its own, for ``scheduler.include(blueprint)``.

    Its jobs can be enqueued once a scheduler has included it. Blueprints can include blueprints.

    Args:
        name: goes in front of the names of its jobs, with a dot, unless a job is given its name in full. None:
            nothing does.

    Raises:
        InvalidOption: the name cannot be one.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(prefix="" if name is None else check_name("name", name) + ".")
        self.name = name

    def __repr__(self) -> str:
        return f"Blueprint({self.name!r})"
