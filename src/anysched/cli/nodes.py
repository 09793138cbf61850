"""``anysched nodes`` and ``anysched stats``: who works here, and how much there is."""

from __future__ import annotations

from argparse import Namespace

from anysched.cli.opening import with_open
from anysched.cli.records import STATS_FIELDS, node_record, stats_record
from anysched.cli.showing import show_fields, show_json, show_table
from anysched.scheduler import Scheduler

__all__ = ["list_nodes", "show_stats"]


def list_nodes(arguments: Namespace) -> int:
    """Carry out ``anysched nodes ls``."""

    async def show(scheduler: Scheduler) -> None:
        nodes = [node_record(node) for node in await scheduler.nodes()]

        if arguments.json:
            show_json(nodes)
            return

        names = ("id", "host", "pid", "running", "capacity")
        rows = [[*(node[name] for name in names), ", ".join(node["queues"])] for node in nodes]
        show_table((*names, "queues"), rows, empty="no node is running")

    return with_open(arguments, show)


def show_stats(arguments: Namespace) -> int:
    """Carry out ``anysched stats``."""

    async def show(scheduler: Scheduler) -> None:
        record = stats_record(await scheduler.totals(), await scheduler.queues(), await scheduler.nodes())

        if arguments.json:
            show_json(record)
            return

        counted = [(name.replace("_", " "), record[name]) for name in STATS_FIELDS if isinstance(record[name], int)]
        unknown = [f"{job}, since {since}" for job, since in record["unknown_jobs"].items()]
        queues = [f"{queue['name']}: {queue['ready']} ready" for queue in record["queues"]]
        nodes = [f"{node['id']}: {node['running']} running" for node in record["nodes"]]
        lists = (("unknown jobs", unknown), ("queues", queues), ("nodes", nodes))
        show_fields([*counted, *((name, "\n".join(lines)) for name, lines in lists)])

    return with_open(arguments, show)
