"""Every async test in here runs in virtual time, on each event loop: nothing sleeps, and instants are exact."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import Any, Literal, cast

import pytest

from anysched.testing import virtual_time


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test under `virtual_time`, unless it asks for `real_time`."""
    test = pyfuncitem.obj

    if not inspect.iscoroutinefunction(test) or "real_time" in pyfuncitem.fixturenames:
        return None

    name, options = pyfuncitem.funcargs["anyio_backend"]
    wanted = {one: pyfuncitem.funcargs[one] for one in inspect.signature(test).parameters}
    virtual_time(_run, partial(test, **wanted), "loop_factory" in options, backend=cast("_Loop", name))
    return True


_Loop = Literal["asyncio", "trio"]


async def _run(test: Any, eager: bool) -> None:
    if eager:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

    await test()


@pytest.fixture
def real_time() -> None:
    """A test that asks for this runs as the clock goes."""


@pytest.fixture
def loop_name(anyio_backend: tuple[str, dict[str, Any]]) -> str:
    """Which event loop this is: asyncio or trio."""
    return anyio_backend[0]
