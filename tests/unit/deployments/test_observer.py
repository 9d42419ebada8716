"""One who asks for all: who is woken when, and what becomes of a question that fails."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from app.observation.observer import Observer
from tests.waiting import until

pytestmark = pytest.mark.anyio

# No test waits for either.
NEVER, AT_ONCE = 3600.0, 0.0


class Source:
    """Something that is asked for, and that changes when a test says so."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.asked = 0
        self.failure: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def read(self) -> dict[str, int]:
        self.asked += 1
        found = dict(self.values)
        await self.may_answer.wait()
        await asyncio.sleep(0)
        if self.failure:
            raise self.failure
        return found


def part(name: str) -> Callable[[dict[str, int]], int | None]:
    return lambda values: values.get(name)


def waiting(observer: Observer[dict[str, int]], name: str, *, interval: float = 0.001, within: float = NEVER) -> Any:
    change = observer.change(part(name), {}, interval=lambda: interval, within=within)
    return asyncio.ensure_future(change)


async def test_only_whose_part_has_changed_is_woken():
    source = Source()
    observer = Observer(source.read)
    ada, bob = waiting(observer, "ada"), waiting(observer, "bob")
    await until(lambda: source.asked > 3)
    assert not ada.done()
    assert not bob.done()

    source.values = {"ada": 1}

    assert await ada == {"ada": 1}
    asked = source.asked
    await until(lambda: source.asked > asked + 3)
    assert not bob.done()
    bob.cancel()


async def test_many_are_served_by_one_question():
    source = Source()
    observer = Observer(source.read)
    source.may_answer.clear()
    everybody = [waiting(observer, f"{number}", interval=AT_ONCE) for number in range(100)]
    await until(lambda: source.asked == 1)
    source.values = {f"{number}": 1 for number in range(100)}
    # What was asked for before they changed is the old answer, so it takes one more.
    source.may_answer.set()

    await asyncio.gather(*everybody)

    assert source.asked == 2


async def test_who_joins_during_a_question_is_not_told_its_answer():
    source = Source()
    observer = Observer(source.read)
    source.values = {"ada": 1, "bob": 1}
    source.may_answer.clear()
    ada = waiting(observer, "ada", interval=AT_ONCE)
    await until(lambda: source.asked == 1)
    source.values = {"bob": 2}
    bob = waiting(observer, "bob", interval=AT_ONCE)
    source.may_answer.set()

    assert await ada == {"ada": 1, "bob": 1}
    assert await bob == {"bob": 2}


async def test_who_joins_is_looked_for_sooner_than_those_who_wait_already():
    source = Source()
    observer = Observer(source.read)
    patient = waiting(observer, "ada", interval=NEVER)
    await until(lambda: observer._waiters)
    source.values = {"bob": 1}

    assert await waiting(observer, "bob", interval=AT_ONCE) == {"bob": 1}

    assert source.asked == 1
    patient.cancel()


async def test_who_has_waited_long_enough_is_told_what_there_is():
    source = Source()

    assert await waiting(Observer(source.read), "ada", within=AT_ONCE) == {}


async def test_a_question_that_fails_is_told_to_everybody_who_waits():
    source = Source()
    observer = Observer(source.read)
    source.failure = ValueError("away")

    became = await asyncio.gather(waiting(observer, "ada"), waiting(observer, "bob"), return_exceptions=True)

    assert [type(each) for each in became] == [ValueError, ValueError]
    source.failure, source.values = None, {"ada": 1}
    assert await waiting(observer, "ada") == {"ada": 1}


async def test_nothing_is_asked_once_nobody_waits():
    source = Source()
    observer = Observer(source.read)
    ada = waiting(observer, "ada")
    await until(lambda: source.asked > 1)
    ada.cancel()
    await asyncio.gather(ada, return_exceptions=True)

    await until(lambda: observer._observing is None)

    asked = source.asked
    for _ in range(10):
        await asyncio.sleep(0.002)
    assert source.asked == asked
