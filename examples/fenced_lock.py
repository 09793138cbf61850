"""A lock with its fencing token, and a store that refuses stale tokens.

A lease keeps two holders apart for as long as clocks and networks behave. What it cannot stop is a write that was sent
under the lease and arrives after the next holder's: here one is held up on its way. The store can: each lease's token
is greater than all before it, and the store refuses a token lower than the highest it has seen.
"""

from __future__ import annotations

import anyio
from attrs import define

from anysched import AnySchedError, Scheduler

scheduler = Scheduler.from_env()  # memory; with ANYSCHED_BACKEND=redis://localhost between processes


class StaleToken(AnySchedError):
    """Somebody with a newer token was here."""


@define
class Store:
    """Any store that can compare and set in one step: ``UPDATE ... WHERE token <= :token`` does."""

    content: str = ""
    token: int = 0

    def write(self, content: str, token: int) -> None:
        if token < self.token:
            raise StaleToken

        self.content, self.token = content, token


async def deliver(store: Store, content: str, token: int, *, delay: float) -> None:
    """A write on its way through a network that takes its time."""
    await anyio.sleep(delay)

    try:
        store.write(content, token)
        print(f"stored: {content}")
    except StaleToken:
        print(f"refused: {content}")


async def main() -> None:
    store = Store()

    async with scheduler, anyio.create_task_group() as network:
        async with scheduler.lock("report", ttl="5s") as slow:
            network.start_soon(lambda: deliver(store, "by the slow one", slow.token, delay=0.5))

        async with scheduler.lock("report", ttl="5s") as quick:
            assert quick.token > slow.token
            await deliver(store, "by the quick one", quick.token, delay=0)

    print(f"what stays: {store.content}")


if __name__ == "__main__":
    anyio.run(main)
