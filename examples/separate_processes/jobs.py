"""The jobs, imported by the client and by the workers: both need their names and types, only a worker their work.

``ANYSCHED_BACKEND=redis://localhost`` in the environment, or in a ``.env`` file, says where the two meet.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from anysched import Scheduler

scheduler = Scheduler.from_env()


@dataclass
class Invoice:
    number: int
    cents: int


@dataclass
class Receipt:
    invoice: int
    text: str
    process: int


@scheduler.job(queue="billing", timeout="10s")
async def bill(invoice: Invoice) -> Receipt:
    text = f"invoice {invoice.number}: {invoice.cents / 100:.2f}"
    return Receipt(invoice.number, text, os.getpid())
