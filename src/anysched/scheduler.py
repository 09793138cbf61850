"""The scheduler: the four components wired together, and everything that is asked of them.

A :class:`Scheduler` is made at import time, takes declarations of jobs and entries through its decorators, and is
then opened (``async with scheduler:``) and run (``await scheduler.run()``) inside the application's own task group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import tzinfo
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from anyio import TASK_STATUS_IGNORED, CancelScope, create_task_group, get_current_task
from anyio.abc import TaskStatus
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint

from anysched.backends import Backend
from anysched.clock import now
from anysched.codec import Codec, JsonCodec
from anysched.config import (
    DEFAULT_NAMESPACE,
    ErrorContext,
    ErrorHandler,
    SchedulerConfig,
    chosen_queues,
    environment,
)
from anysched.durations import Duration
from anysched.errors import BackendUnavailable, InvalidState, NotOpen
from anysched.events import BackendFound, BackendLost, Observer
from anysched.executor import Executor, ExecutorStatistics
from anysched.identifiers import check_name
from anysched.job import BoundJob
from anysched.job_types import JobTypes
from anysched.lock import Lease, Lock
from anysched.registry import Registry
from anysched.run_handle import Run
from anysched.runtime.accepting import check_components, check_lifespan, check_observers
from anysched.runtime.awaiting import conclude, wait_until_final
from anysched.runtime.opening import open_backend
from anysched.runtime.pacing import Pace, kept_pace
from anysched.runtime.persisting import Outage
from anysched.runtime.stopping import Stopping
from anysched.runtime.submitting import Submitting
from anysched.runtime.telling import Teller
from anysched.runtime.tending import Tending
from anysched.runtime.unwrapping import Body, bare

if TYPE_CHECKING:
    from logging import Logger

    from anysched.runtime.node import Node
    from anysched.runtime.session import Session

__all__ = ["Scheduler", "SchedulerStatistics"]

T = TypeVar("T")


class SchedulerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of this node.

    Attributes:
        node: its id; empty while it does not run.
        running: whether :meth:`Scheduler.run` is under way.
        leader: whether it fires entries at their time.
        trusted: whether its lease can be trusted.
        executor: how busy it is.
        trips: round trips for settling and claiming.
        ticks: looks at the entries.
        fired: runs made by entries that fired here.
        pace: seconds that attempts have been taking lately.
    """

    node: str
    running: bool
    leader: bool
    trusted: bool
    executor: ExecutorStatistics
    trips: int
    ticks: int
    fired: int
    pace: float


class Scheduler(Registry, Tending):
    """Schedules and background jobs for one application.

    Args:
        backend: an address (``redis://...``), or a backend. Without one, this process's memory.
        namespace: keeps applications that share a server apart; default: ``"anysched"``, or that of a backend object.
        executor: where functions are called; of this scheduler only, while it runs.
        lock: the leader's.
        config: the settings.
        lifespan: called at each :meth:`run` for an async context manager that is entered around the attempts; what
            it gives is ``current_run().state`` in every job.
        observers: each sees every event record.
        codec: turns arguments and results into bytes; default: JSON by ``msgspec``.

    Raises:
        InvalidURL: the address cannot be understood.
        InvalidOption: an option has a value that is not allowed, a component is none, or a namespace is given that
            is not that of the backend object.
    """

    def __init__(
        self,
        backend: str | Backend | None = None,
        *,
        namespace: str | None = None,
        executor: Executor | None = None,
        lock: Lock | None = None,
        config: SchedulerConfig | None = None,
        lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
        observers: Sequence[Observer] = (),
        codec: Codec | None = None,
    ) -> None:
        check_components(config=config, executor=executor, lock=lock, codec=codec)
        check_lifespan(lifespan)
        self.config: SchedulerConfig = config if config is not None else SchedulerConfig()
        self.codec: Codec = codec if codec is not None else JsonCodec()
        super().__init__()
        wanted = check_name("namespace", namespace) if namespace is not None else None
        self.backend: Backend = open_backend(backend, namespace=wanted, lease=self.config.lease)
        self.namespace: str = getattr(self.backend, "namespace", wanted or DEFAULT_NAMESPACE)
        self.executor: Executor = executor if executor is not None else Executor()
        self.leader_lock = lock
        self.lifespan = lifespan
        self._teller = Teller(log=_write_down, observers=check_observers(observers), on_error=self.config.on_error)
        self._outage = Outage(on_lost=self._backend_lost, on_found=self._backend_found)
        self._session: Session | None = None
        self._left_behind = Counter[int]()
        self._opener: tuple[int, int] = (0, 0)
        self._node: Node | None = None
        self._pace: Pace | None = None
        self._stopping: Stopping | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """A scheduler with its settings, backend and namespace from ``ANYSCHED_...`` variables and a ``.env`` file.

        A variable that is empty counts as not set.

        Args:
            environ: instead of the process's environment.
            **options: as for the class; they win. A backend object brings its own namespace.

        Raises:
            InvalidConfig: a variable does not parse.
        """
        found = environment(environ)
        options.setdefault("config", found.config)
        backend = options.pop("backend", found.backend)

        if backend is None or isinstance(backend, str):
            options.setdefault("namespace", found.namespace)

        return cls(backend, **options)

    @property
    def timezone(self) -> tzinfo:
        """The zone of cron expressions, written as text, that name none."""
        return self.config.timezone

    # --- open and run ------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open: connect, so that runs and entries can be made, inspected and managed. Executes nothing.

        Re-entrant: the first to enter opens, and closes: it leaves when all others have left. Cancelled, or leaving by
        an error, it gives them two seconds; a node among them is stopped at once, and raises :exc:`NotOpen`.

        Raises:
            BackendUnavailable: the backend cannot be reached.
            BackendRefused: it does not let us in.
            InvalidState: it is open in another thread, or event loop. So says whatever is asked of it there.
        """
        self._belongs_here("`async with`")
        session = self._session
        me = get_current_task().id

        if session is not None:
            await session.ready.wait()

            if self._session is session and not session.over:
                session.enter(me)
                return self

            await session.closed.wait()
            return await self.__aenter__()

        # What a program that only declares does without.
        from anysched.runtime.session import Session

        grace = self.config.shutdown_timeout.total_seconds() + 10
        session = Session(backend=self.backend, outage=self._outage, grace=grace, opener=me, teller=self._teller)
        self._session = session

        try:
            with bare():
                await session.__aenter__()
        except BaseException:
            self._session = None
            session.ready.set()
            session.closed.set()
            raise

        return self

    async def __aexit__(  # noqa: ASYNC910 - closing is one, and so is the early return
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, if nobody else needs it open any more."""
        session = self._session
        me = get_current_task().id

        if self._was_closed_under(me) or session is None or not session.leave(me):
            # Shielded, lest it hide what the body raised.
            await cancel_shielded_checkpoint()
            return

        try:
            with bare(body=error):
                await session.__aexit__(kind, error, traceback)  # noqa: ASYNC102 - its services limit themselves
        except BaseException as raised:  # noqa: ASYNC103 - what is swallowed is `error`, which goes on by itself
            if raised is not error:
                raise
        finally:
            self._session = None
            self._left_behind.update(session.guests)
            session.closed.set()

    async def run(
        self,
        *,
        schedules: bool = True,
        queues: Sequence[str] | Mapping[str, int] | None = None,
        task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
    ) -> None:
        """Fire entries, claim runs and execute them, until :meth:`stop` or cancellation.

        Ready, and ``task_status.started()`` called, once the node is known to the backend and listens. Cancelling it
        is a fast stop: attempts are cancelled, their runs handed back at once, finished results are settled; it
        takes at most a few seconds more than the handlers need, even if the backend cannot be reached. Stopped before
        it is ready, it waits for nothing more, and returns as if it had been ready.

        If it is the first that opens the scheduler it returns when those have left who entered after it: so open it
        around ``run`` where others use it too.

        Args:
            schedules: whether to fire entries here.
            queues: what to execute, by name or with weights; default: as the configuration says. Empty: nothing.
            task_status: for ``await task_group.start(scheduler.run)``.

        Raises:
            BackendUnavailable: the backend could not be reached at the start. Later outages are waited out.
            BackendRefused: it does not let us in.
            InvalidConfig: the queues cannot be.
            InvalidState: it runs already, or its executor does in another scheduler.
            NotOpen: whoever had opened the scheduler before was cancelled, or failed: it was stopped at once.
        """
        with self._going_to_run(queues) as (stopping, chosen):
            await self._run(stopping, schedules=schedules, queues=chosen, task_status=task_status)

    @contextmanager
    def _going_to_run(
        self, queues: Sequence[str] | Mapping[str, int] | None
    ) -> Generator[tuple[Stopping, Mapping[str, int]]]:
        self._belongs_here("run()")

        if self._stopping is not None:
            raise InvalidState("this scheduler", "running already", "it runs once at a time")

        self.executor.require_idle()
        chosen = chosen_queues(queues, self.config.queues)

        # From here on `stop` is heard, though it may take a while until there is something to stop.
        self._stopping = stopping = Stopping()

        try:
            yield stopping, chosen
        finally:
            self._runs_no_more(stopping)

    async def _run(
        self,
        stopping: Stopping,
        *,
        schedules: bool,
        queues: Mapping[str, int],
        task_status: TaskStatus[None] = TASK_STATUS_IGNORED,
    ) -> None:
        with stopping.cuts_short() as opening:
            async with self:
                stopping.spare(opening)
                await self._run_node(stopping, schedules=schedules, queues=queues, task_status=task_status)

        if opening.cancelled_caught:
            # Whoever waits for it to be ready would else wait for what never comes.
            task_status.started()

    async def _run_node(
        self, stopping: Stopping, *, schedules: bool, queues: Mapping[str, int], task_status: TaskStatus[None]
    ) -> None:
        session = self._opened("run")
        cut_off: CancelScope | None = None

        try:
            with bare(), kept_pace(self.config, self.backend, self._change_pace) as self._pace:
                config = self._pace.config
                self._node = node = self._make_node(config, stopping, session, schedules=schedules, queues=queues)

                with session.at_work() as cut_off:
                    await node.run(task_status=task_status)
        except NotOpen:
            # Whoever closed it may have cancelled us too, which then comes first.
            await checkpoint()  # noqa: ASYNC120 - that is why
            raise
        finally:
            # The session may wait for its guests, but nothing runs.
            self._runs_no_more(stopping)

        if cut_off.cancelled_caught:
            await checkpoint()
            raise NotOpen("run, left behind by whoever opened it,")

    def _runs_no_more(self, stopping: Stopping) -> None:
        if self._stopping is stopping:
            self._node = self._stopping = self._pace = None

    def _change_pace(self, config: SchedulerConfig) -> None:
        if self._node is not None:
            self._node.change_pace(config)

    def _make_node(
        self,
        config: SchedulerConfig,
        stopping: Stopping,
        session: Session,
        *,
        schedules: bool,
        queues: Mapping[str, int],
    ) -> Node:
        # A program that only enqueues does without.
        from anysched.runtime.node import Node

        return Node(
            backend=self.backend,
            config=config,
            executor=self.executor,
            lock=self.leader_lock if self.leader_lock is not None else Lock(ttl=config.lease),
            teller=self._teller,
            outage=self._outage,
            listening=session.listening,
            jobs=self.jobs,
            declarations=self.declarations(),
            lifespan=self.lifespan,
            queues=queues,
            schedules=schedules,
            stopping=stopping,
        )

    @asynccontextmanager
    async def running(
        self, *, schedules: bool = True, queues: Sequence[str] | Mapping[str, int] | None = None
    ) -> AsyncGenerator[Self]:
        """Open and run, around a body. Leaving the body is a graceful stop; an exception in it a fast one.

        It stays open until the body is left, also after a :meth:`stop`.

        Args:
            schedules: as for :meth:`run`.
            queues: as for :meth:`run`.

        Raises:
            Exception: what the body raised, as it was; or what :meth:`run` raised; or a group of both.
        """
        with self._going_to_run(queues) as (stopping, chosen):
            async with self, self._beside(partial(self._run, stopping, schedules=schedules, queues=chosen)):
                yield self
                stopping.set()

    @asynccontextmanager
    async def _beside(self, node: Callable[..., Coroutine[Any, Any, None]]) -> AsyncGenerator[None]:
        """A node beside a body, which is stopped at once if the body fails."""
        body = Body()

        with body.outcome():
            async with create_task_group() as group:
                await group.start(node)

                with body.kept(group.cancel_scope):
                    yield

    def stop(self) -> None:
        """Begin a graceful stop: nothing new is taken; live attempts get ``shutdown_timeout`` to end.

        What is then still running is cancelled and handed back. Does nothing if it is not running.

        Runs that nobody has taken stay where they are, for any node that comes: whoever waits for the result of one
        waits on.
        """
        self._belongs_here("stop()")

        if self._stopping is not None:
            self._stopping.set()

    @property
    def observers(self) -> tuple[Observer, ...]:
        """Who is told of every event record."""
        return tuple(self._teller.observers)

    def observe(self, observer: Observer, *, on_error: ErrorHandler | None = None) -> None:
        """Tell one more observer of every event record, from now on.

        Args:
            observer: is told, after those that are told already.
            on_error: takes the errors, if no other handler was configured.
        """
        check_observers([observer])
        self._teller.add(observer)

        if self._teller.on_error is None:
            self._teller.on_error = on_error

    def statistics(self) -> SchedulerStatistics:
        """A snapshot of this node."""
        node = self._node
        attempting = node.attempting if node is not None else None
        return SchedulerStatistics(
            node=node.leasing.node.id if node is not None else "",
            running=node is not None,
            leader=node is not None and node.ticking.leads,
            trusted=node is not None and node.leasing.trusted,
            executor=self.executor.statistics(),
            trips=node.settling.trips if node is not None else 0,
            ticks=node.ticking.ticks if node is not None else 0,
            fired=node.ticking.fired if node is not None else 0,
            pace=attempting.pace if attempting is not None else 0.0,
        )

    def lock(self, name: str, *, ttl: Duration = "15s", wait: bool = True) -> AbstractAsyncContextManager[Lease]:
        """Hold a lock of this name, in this namespace, around a body. See :class:`~anysched.lock.Lock`.

        Args:
            name: the lock's name: 1 to 200 characters without spaces and braces.
            ttl: how long a dead holder keeps it. Renewed in the background at a third of that.
            wait: stand in line until it is ours; otherwise :exc:`LockBusy` at once.

        Raises:
            InvalidOption: the name cannot be one; raised by the call itself.
            LockBusy: it is held elsewhere and ``wait`` is false.
            LockLost: it was lost, or this closed, while the body ran; the body has been cancelled.
        """
        session = self._opened("lock")
        # Users' names never meet the leader's.
        lock = Lock(name=name, space="user:", ttl=ttl, backend=self.backend, hints=session.listening)
        return lock.hold(wait=wait, closed=session.closed)

    # --- runs --------------------------------------------------------------------------------------------------

    async def enqueue(self, *bounds: BoundJob[Any]) -> list[Run[Any]]:
        """Enqueue many calls, up to 1,000 in one atomic step; more take several steps, in order.

        Args:
            *bounds: made by ``job.bind(...)``.

        Returns:
            Their runs, in order.

        Raises:
            PayloadTooLarge: the arguments of one of them are, and none is stored.
            RunExists: a run of another job has the ``key`` or ``run_id`` of one of them. It stores nothing itself and
                stops none of the others: repeated with ids of their own, these are found, not made again.
            BackendUnavailable: unknown whether they were stored; repeat with the same ``run_id``.
        """
        return await self.enqueue_bound(bounds)

    async def enqueue_bound(self, bounds: Sequence[BoundJob[Any]]) -> list[Run[Any]]:
        """See :meth:`enqueue`."""
        session = self._opened("enqueue")
        on_its_way = Submitting(
            home=self,
            backend=self.backend,
            config=self.config,
            enqueueing=session.enqueueing,
            teller=self._teller,
        )
        return await on_its_way.submit(bounds)

    async def run_result(self, run_id: str, types: JobTypes | None) -> Any:
        """See :meth:`Run.result`."""
        session = self._opened("result")
        record = await wait_until_final(
            run_id,
            backend=self.backend,
            listening=session.listening,
            outage=self._outage,
            look_every=(self._pace or self).config.tick_interval.total_seconds(),
        )
        return conclude(record, types, self.codec)

    # --- inside ------------------------------------------------------------------------------------------------

    def _belongs_here(self, what: str) -> None:
        session = self._session

        if session is not None and session.has_died:
            self._session = self._node = self._stopping = self._pace = None
        elif session is not None:
            session.belongs_here(what)

    def _was_closed_under(self, task: int) -> bool:
        """Whether what this task leaves is a session that ended before."""
        if self._session is not None and self._session.knows(task):
            return False

        has_left = self._left_behind[task] > 0
        self._left_behind -= Counter([task])
        return has_left

    def _runs(self) -> bool:
        return self._node is not None

    def _opened(self, what: str) -> Session:
        self._belongs_here(what)

        if self._session is None:
            raise NotOpen(what)

        return self._session

    def _backend(self, what: str) -> Backend:
        self._opened(what)
        return self.backend

    def _backend_lost(self, error: BackendUnavailable) -> None:
        self._teller.report(error, ErrorContext(kind="backend"))

        if self._teller.listened_to:
            self._teller.tell(BackendLost(at=now(), reason=str(error)))

    def _backend_found(self) -> None:
        _log().info("the backend answers again")

        if self._teller.listened_to:
            self._teller.tell(BackendFound(at=now()))


def _write_down(message: str, error: BaseException) -> None:
    _log().error(message, exc_info=error)


def _log() -> Logger:
    # Where nothing goes wrong, nothing is written down.
    from logging import getLogger

    return getLogger("anysched")
