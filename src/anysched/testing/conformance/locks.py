# ruff: noqa: SIM300 (a test says "assert expected == actual")
"""Locks: one holder at a time, tokens that only grow, and a line that is served in order."""

from __future__ import annotations

from .stage import LATER, Stage, Staged

__all__ = ["LockConformance"]


class LockConformance(Staged):
    """``acquire_lock``, ``refresh_lock`` and ``release_lock``."""

    async def test_one_holds_it_and_no_other(self, stage: Stage) -> None:
        """The others are told until when; locks of other names are free."""
        held = await stage.lock("a")
        refused = await stage.lock("b")

        assert 0 == refused.token < held.token
        assert held.now_ms + LATER == held.expires_ms == refused.expires_ms
        assert held.now_ms <= refused.now_ms <= await stage.backend.time_ms()
        assert (await stage.lock("b", "another")).token > held.token

    async def test_asking_again_while_holding_gives_a_fresh_lease(self, stage: Stage) -> None:
        """Under the same token."""
        first = await stage.lock("a", ttl_ms=LATER)
        await stage.advance(5)
        again = await stage.lock("a", ttl_ms=2 * LATER)

        assert (first.token, again.now_ms + 2 * LATER) == (again.token, again.expires_ms)
        assert again.expires_ms == (await stage.lock("b")).expires_ms

    async def test_a_released_lock_can_be_taken(self, stage: Stage) -> None:
        """By anybody; only the holder can release it."""
        await stage.lock("a")
        assert not await stage.backend.release_lock("lock", "b")
        assert not (await stage.lock("b")).token
        assert [True, False] == [await stage.backend.release_lock("lock", "a") for _ in "12"]
        assert (await stage.lock("b")).token
        assert not await stage.backend.release_lock("none", "a")

    async def test_tokens_grow_over_releases_names_and_runs(self, stage: Stage) -> None:
        """Every token of the namespace is greater than all before, and than its microseconds then."""
        await stage.join()
        await stage.add("r")
        tokens = [1_000 * await stage.backend.time_ms() - 1]

        for name in ("x", "y", "x"):
            tokens.append((await stage.lock("a", name)).token)
            await stage.backend.release_lock(name, "a")

        tokens.append((await stage.claim_one()).token)
        tokens.append((await stage.lock("b", "x")).token)
        assert sorted(set(tokens)) == tokens

    async def test_a_lease_that_ran_out_is_taken_over(self, stage: Stage) -> None:
        """The old holder has nothing then: no refresh, no release, and no token but by asking again."""
        old = await stage.lock("a", ttl_ms=20)
        await stage.advance(30)
        assert not await stage.backend.refresh_lock("lock", "a", ttl_ms=LATER)
        new = await stage.lock("b")

        assert new.token > old.token
        assert not await stage.backend.refresh_lock("lock", "a", ttl_ms=LATER)
        assert not await stage.backend.release_lock("lock", "a")
        assert 0 == (await stage.lock("a")).token
        assert await stage.backend.refresh_lock("lock", "b", ttl_ms=LATER)

    async def test_a_lapsed_holder_gets_a_new_token(self, stage: Stage) -> None:
        """Though nobody was there to take it over: somebody may have been."""
        old = await stage.lock("a", ttl_ms=20)
        await stage.advance(30)
        new = await stage.lock("a")

        assert new.token > old.token

    async def test_a_refreshed_lease_goes_on(self, stage: Stage) -> None:
        """From now, for as long as asked; repeated it is the same."""
        await stage.lock("a", ttl_ms=200)

        for _ in "12":
            await stage.advance(120)
            assert await stage.backend.refresh_lock("lock", "a", ttl_ms=200)
            assert await stage.backend.refresh_lock("lock", "a", ttl_ms=200)

        refused = await stage.lock("b")
        assert 0 == refused.token
        assert refused.now_ms < refused.expires_ms <= refused.now_ms + 200

    async def test_only_a_held_lock_is_refreshed(self, stage: Stage) -> None:
        """Not another's, nor one that is free or released."""
        assert not await stage.backend.refresh_lock("lock", "a", ttl_ms=LATER)
        await stage.lock("a")
        assert not await stage.backend.refresh_lock("lock", "b", ttl_ms=LATER)
        await stage.backend.release_lock("lock", "a")
        assert not await stage.backend.refresh_lock("lock", "a", ttl_ms=LATER)

    # --- the line --------------------------------------------------------------------------------------------

    async def test_whoever_waited_longest_is_next(self, stage: Stage) -> None:
        """It is told when the lock is released, and nobody passes it, even without standing in line."""
        await stage.lock("a")

        for owner in ("b", "c"):
            assert 0 == (await stage.lock(owner, inbox=f"inbox {owner}")).token

        async with stage.inbox("inbox b") as second, stage.inbox("inbox c") as third:
            await stage.backend.release_lock("lock", "a")
            assert "b" == (await second.expect("lock", "lock")).owner
            assert [] == third.hints
            assert [0, 0] == [(await stage.lock(owner)).token for owner in ("c", "d")]
            held = await stage.lock("b", inbox="inbox b")
            assert held.token

            await stage.backend.release_lock("lock", "b")
            assert "c" == (await third.expect("lock", "lock")).owner
            assert (await stage.lock("c", inbox="inbox c")).token > held.token

        assert await stage.backend.release_lock("lock", "c")
        assert (await stage.lock("d")).token

    async def test_those_who_share_an_inbox_are_called_by_their_own_names(self, stage: Stage) -> None:
        """So that only the one whose turn it is need ask."""
        await stage.lock("a")

        for owner in ("b", "c"):
            await stage.lock(owner, inbox="inbox")

        async with stage.inbox("inbox") as both:
            for owner, following in (("a", "b"), ("b", "c")):
                await stage.backend.release_lock("lock", owner)
                assert following == (await both.expect("lock", "lock")).owner
                assert (await stage.lock(following, inbox="inbox")).token

    async def test_asking_again_keeps_the_place(self, stage: Stage) -> None:
        """And holds it for longer."""
        await stage.lock("a")

        for owner in ("b", "c", "b"):
            await stage.lock(owner, inbox=f"inbox {owner}")

        await stage.backend.release_lock("lock", "a")
        assert 0 == (await stage.lock("c", inbox="inbox c")).token
        assert (await stage.lock("b", inbox="inbox b")).token

    async def test_whoever_does_not_wait_takes_no_place(self, stage: Stage) -> None:
        """Without an inbox."""
        await stage.lock("a")
        assert 0 == (await stage.lock("b")).token
        await stage.backend.release_lock("lock", "a")
        assert (await stage.lock("c")).token

    async def test_a_place_is_held_for_a_time(self, stage: Stage) -> None:
        """Whoever does not ask again loses it; the others are told when to ask."""
        await stage.lock("a")
        await stage.lock("b", ttl_ms=300, inbox="inbox b")
        await stage.lock("c", inbox="inbox c")
        await stage.backend.release_lock("lock", "a")
        refused = await stage.lock("c", inbox="inbox c")
        assert (0, True) == (refused.token, refused.now_ms < refused.expires_ms <= refused.now_ms + 300)

        await stage.advance(310)
        assert (await stage.lock("c", inbox="inbox c")).token
        assert 0 == (await stage.lock("b", inbox="inbox b")).token

    async def test_leaving_the_line_lets_the_next_one_in(self, stage: Stage) -> None:
        """It is told, if the lock is free."""
        await stage.lock("a")

        for owner in ("b", "c"):
            await stage.lock(owner, inbox=f"inbox {owner}")

        await stage.backend.release_lock("lock", "a")

        async with stage.inbox("inbox c") as third:
            assert [True, False] == [await stage.backend.release_lock("lock", "b") for _ in "12"]
            await third.expect("lock", "lock")

        assert (await stage.lock("c", inbox="inbox c")).token

    async def test_leaving_the_line_behind_another_changes_nothing_for_it(self, stage: Stage) -> None:
        """The first stays the first."""
        await stage.lock("a")

        for owner in ("b", "c"):
            await stage.lock(owner, inbox=f"inbox {owner}")

        assert await stage.backend.release_lock("lock", "c")
        assert not (await stage.lock("d")).token
        await stage.backend.release_lock("lock", "a")
        assert (await stage.lock("b", inbox="inbox b")).token

    async def test_a_lapsed_lock_goes_to_the_first_in_line(self, stage: Stage) -> None:
        """Who is told of it when somebody else asks."""
        await stage.lock("a", ttl_ms=30)
        await stage.lock("b", inbox="inbox b")
        await stage.advance(40)

        async with stage.inbox("inbox b") as second:
            assert 0 == (await stage.lock("c")).token
            await second.expect("lock", "lock")

        assert 0 == (await stage.lock("a")).token
        assert (await stage.lock("b", inbox="inbox b")).token
