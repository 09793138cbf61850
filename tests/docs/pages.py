"""Reads the documents: their fenced blocks, and what is to be done with each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r'^```(?P<language>\w+)(?: title="(?P<title>[^"]*)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL
)
_RUNNERS = ("anyio.run(main)", "trio.run(main)", "virtual_time(main)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runner(self) -> str:
        """The call that starts it if it is a complete program, else empty."""
        if self.language != "python" or self.title == "before":
            return ""

        body = ast.parse(self.text).body
        last = body[-1]

        if isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'":
            last = last.body[-1]

        code = ast.unparse(last)
        return code if code in _RUNNERS else ""

    @property
    def program(self) -> str:
        """The program without its last statement, which starts it; what is left defines ``main``."""
        tree = ast.parse(self.text)
        return ast.unparse(ast.Module(tree.body[:-1], tree.type_ignores))


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks() -> list[Block]:
    return [block for page in pages() for block in _blocks_of(page)]


def _blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    name = page.relative_to(ROOT).as_posix()

    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        yield Block(name, line, fence["language"], fence["title"] or "", fence["text"])


def output_of(block: Block, everything: list[Block]) -> str | None:
    """What the page says that a program prints: the block after it, if that has the title ``prints``."""
    following = everything[everything.index(block) + 1 :][:1]
    return following[0].text if following and following[0].title == "prints" else None
