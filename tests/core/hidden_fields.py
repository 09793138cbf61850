"""Attrs classes of which msgspec leaves something out."""

from __future__ import annotations

import attrs

__all__ = ["Account", "Vault"]


@attrs.define
class Account:
    owner: str
    _balance: int = 0


@attrs.define
class Vault:
    _code: int
