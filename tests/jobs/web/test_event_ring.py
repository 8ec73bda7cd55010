from __future__ import annotations

import asyncio

from jobs.web.event_ring import EventRing


def numbers(ring: EventRing, after: int) -> list[int] | None:
    found = ring.after(after)
    return None if found is None else [event.number for event in found]


def test_a_browser_that_comes_back_gets_what_it_missed() -> None:
    async def check() -> None:
        ring = EventRing(kept=3)
        assert numbers(ring, 0) == []
        for n in range(5):
            ring.add("job", "crossing", {"n": n})
        assert numbers(ring, 3) == [4, 5]
        assert numbers(ring, 2) == [3, 4, 5]
        # The second event is not kept any more, and nobody had a sixth.
        assert (numbers(ring, 1), numbers(ring, 6)) == (None, None)

    asyncio.run(check())


def test_ids_of_another_start_of_the_server_are_unknown() -> None:
    async def check() -> None:
        one, other = EventRing(), EventRing()
        assert one.number_of(one.id_of(7)) == 7
        assert [one.number_of(text) for text in (other.id_of(7), None, "", "x", f"{one.boot}-", f"{one.boot}-x")] == [
            None
        ] * 6

    asyncio.run(check())


def test_those_who_wait_are_woken_by_the_next_event() -> None:
    async def check() -> None:
        ring = EventRing()
        waiting = [asyncio.create_task(ring.wait(60)) for _ in range(3)]
        await asyncio.sleep(0)
        ring.add("tables", None, {})
        await asyncio.wait_for(asyncio.gather(*waiting), 30)

    asyncio.run(check())
