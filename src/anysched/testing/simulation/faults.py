"""What goes wrong, how often, and when: drawn from a seed."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

from attrs import asdict, evolve, field, frozen

from anysched.durations import Duration, parse_duration

__all__ = ["DISTURBANCES", "Faults", "Trouble"]

DISTURBANCES = ("crashes", "pauses", "cuts", "outages", "stops", "cancels", "clock_steps")
"""What happens to machines, by the fields of :class:`Faults` that say how often."""

_STEPS = ("first_crash", "first_pause")
_AT_CALLS = ("crash_at_call", "pause_at_call")


def _length(value: Duration) -> timedelta:
    return parse_duration(value, name="skew")


@frozen(kw_only=True)
class Faults:
    """How often what goes wrong. The defaults are a bad day.

    Attributes:
        lost_command: share of commands that never reach the backend; the caller is told that it is unavailable.
        lost_reply: share whose effect is done and whose answer is lost; likewise.
        late_command: share whose caller is told that, and whose effect is done up to 4 s later.
        slow: share that take up to 4 s longer, before or after the effect.
        twice: share that reach the backend twice, up to 2 s apart.
        crash_at_call: share at which the machine dies, before or after the effect.
        pause_at_call: share at which it stands still, likewise.
        lost_hint: share of hints that never come.
        doubled_hint: share that come once more, late.
        late_hint: share that come up to 2 s late, some up to 30 s; others overtake them.
        crashes: machines killed, per minute: at once, or after some more steps of whatever their tasks are doing.
        pauses: machines that stand still for 1 s to three leases, and go on, per minute; likewise.
        cuts: machines that cannot reach the backend for up to three leases, per minute.
        outages: times that nobody can, per minute.
        stops: nodes stopped gracefully, per minute.
        cancels: nodes whose scope is cancelled, per minute.
        clock_steps: clocks of nodes that jump, per minute.
        first_crash: the first node dies at this step of its tasks, counted from its start; 0: not for that.
        first_pause: likewise, it stands still.
        skew: how far a node's clock is off at most, in either direction.
    """

    lost_command: float = 0.01
    lost_reply: float = 0.01
    late_command: float = 0.005
    slow: float = 0.03
    twice: float = 0.03
    crash_at_call: float = 0.001
    pause_at_call: float = 0.002
    lost_hint: float = 0.1
    doubled_hint: float = 0.1
    late_hint: float = 0.1
    crashes: float = 1.0
    pauses: float = 1.5
    cuts: float = 1.0
    outages: float = 0.3
    stops: float = 0.7
    cancels: float = 0.7
    clock_steps: float = 0.5
    first_crash: int = 0
    first_pause: int = 0
    skew: timedelta = field(default=timedelta(hours=1), converter=_length)

    @classmethod
    def none(cls) -> Faults:
        """A good day."""
        return cls(skew=timedelta()).without(*_RATES)

    @classmethod
    def from_text(cls, text: str) -> Faults:
        """What :meth:`as_text` says.

        Raises:
            ValueError: it is not like that.
        """
        wanted = dict(part.split("=") for part in text.split(",") if part)
        unknown = set(wanted) - set(asdict(cls()))

        if unknown:
            raise ValueError(f"there are no faults called {', '.join(sorted(unknown))}")

        numbers = {name: float(value) for name, value in wanted.items()}
        given: dict[str, Any] = {name: int(value) if name in _STEPS else value for name, value in numbers.items()}
        return cls.none().with_(**given)

    def as_text(self) -> str:
        """As one word: what goes wrong, and how often."""
        values: dict[str, Any] = asdict(self) | {"skew": self.skew.total_seconds()}
        return ",".join(f"{name}={value!r}" for name, value in values.items() if value) or "skew=0"

    @classmethod
    def drawn(cls, chance: Random) -> Faults:
        """Some of the faults, some rarely and some often: what always goes wrong together hides what else would."""
        scale = {name: chance.choice((0.0, 0.3, 1.0, 1.0, 3.0)) for name in _RATES}
        usual = cls()
        rates: dict[str, Any] = {name: getattr(usual, name) * scale[name] for name in _RATES}
        return cls(**rates, skew=chance.choice((timedelta(), timedelta(seconds=3), usual.skew)))

    def with_(self, **changes: Any) -> Faults:
        """The same with some of them changed."""
        return evolve(self, **changes)

    def without(self, *names: str) -> Faults:
        """The same without some of them."""
        gone: dict[str, Any] = dict.fromkeys(names, 0.0)
        return evolve(self, **gone)

    def draw_trouble(self, chance: Random) -> Trouble:
        """What happens to one command."""
        point = chance.random()
        names = ("lost_command", "lost_reply", "late_command", *_AT_CALLS)

        for name in names:
            point -= getattr(self, name)

            if point < 0:
                return Trouble(kind=name, before=chance.random() < 0.5, seconds=chance.uniform(0.05, 4.0))

        return Trouble(
            slow_before=_some(chance, self.slow / 2, 4.0),
            slow_after=_some(chance, self.slow / 2, 4.0),
            again_after=_some(chance, self.twice, 2.0) if chance.random() < 0.5 else 0.0,
            twice=chance.random() < self.twice,
        )

    def draw_disturbance(self, chance: Random) -> tuple[float, str]:
        """Seconds until the next one, and which; never, if there is none."""
        rates = [getattr(self, name) for name in DISTURBANCES]
        total = sum(rates)

        if not total:
            return float("inf"), ""

        return chance.expovariate(total / 60), chance.choices(DISTURBANCES, rates)[0]

    def draw_skew(self, chance: Random) -> int:
        """By how many microseconds a clock is off."""
        most = self.skew // timedelta(microseconds=1)
        return chance.choice((0, chance.randint(-most, most), most, -most))


def _some(chance: Random, share: float, most: float) -> float:
    return chance.uniform(0.001, most) if chance.random() < share else 0.0


_RATES = tuple(name for name, value in asdict(Faults()).items() if type(value) is float)


@frozen(kw_only=True)
class Trouble:
    """What happens to one command."""

    kind: str = ""
    before: bool = False
    """The effect, or after it."""
    seconds: float = 0.0
    slow_before: float = 0.0
    slow_after: float = 0.0
    twice: bool = False
    again_after: float = 0.0

    @property
    def names(self) -> list[str]:
        """What to count."""
        slow = "slow" if self.slow_before or self.slow_after else ""
        return [name for name in (self.kind, slow, "twice" if self.twice else "") if name]
