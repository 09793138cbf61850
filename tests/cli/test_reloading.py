"""``anysched run --reload``: a new process for new files."""

from __future__ import annotations

from pathlib import Path
from signal import SIGINT

from anysched.cli.reloading import snapshot


def test_python_files_are_watched(tmp_path: Path) -> None:
    """Those below the directory, but not hidden ones, caches and installed packages."""
    for name in ("a.py", "b/c.py", "b/d.txt", ".venv/x.py", "__pycache__/y.py", "lib/site-packages/z.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert {"a.py", "b/c.py"} == set(snapshot(tmp_path))


def test_a_change_restarts_the_node(app, start) -> None:
    """Gracefully; a file that cannot be imported is waited out; a signal is passed on, with its status."""
    path = app.folder / f"{app.name}.py"
    node = start("run", app.target, "--reload")
    node.wait_for("runs on")
    good = path.read_text()

    path.write_text(good + "\nx = (\n")
    node.wait_for("stopped")
    node.wait_for("waiting for a change")
    assert "SyntaxError" in node.output

    path.write_text(good + "\nx = 1\n")
    node.wait_for("runs on", times=2)
    node.signal(SIGINT)

    assert 0 == node.status()
    assert 2 == node.output.count("node left")
