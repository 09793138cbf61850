"""The tree that is checked, and a way to plant violations in one that is not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

Plant = Callable[[dict[str, str]], Path]


@pytest.fixture(scope="session")
def package() -> Path:
    """The installed package's folder: src/anysched, or what a wheel brought. Found without importing it."""
    spec = importlib.util.find_spec("anysched")
    assert spec is not None and spec.origin is not None, "anysched is not installed: pip install -e '.[test]'"

    return Path(spec.origin).parent


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Writes files, by name and text, into an empty folder and returns it."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

        return tmp_path

    return write
