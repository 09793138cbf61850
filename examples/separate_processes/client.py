"""A client: enqueues, and waits for the results. It executes nothing itself."""

from __future__ import annotations

import os

import anyio
from jobs import Invoice, bill, scheduler


async def main() -> None:
    async with scheduler:  # opened, not run
        runs = await scheduler.enqueue(*(bill.bind(Invoice(number, cents=1999 * number)) for number in (1, 2, 3)))

        with anyio.fail_after(10):
            for run in runs:
                receipt = await run.result()
                assert receipt.process != os.getpid()
                print(receipt.text)


if __name__ == "__main__":
    anyio.run(main)
