"""`each`: many of the same, some at once, in order, and none left behind when one fails."""

from __future__ import annotations

import asyncio

import pytest

from airflow_s3batch.core.at_once import each


def test_results_come_in_the_order_of_the_arguments_and_no_more_run_at_once_than_may() -> None:
    running, most = 0, 0

    async def doubled(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001 * (10 - number))
        running -= 1
        return 2 * number

    assert asyncio.run(each(doubled, range(10), at_once=3)) == list(range(0, 20, 2))
    assert most == 3


def test_when_one_fails_the_others_have_ended_before_that_is_told() -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            if number == 2:
                raise ValueError("two")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(number)

    with pytest.raises(ValueError, match="two"):
        asyncio.run(each(work, range(4)))
    assert sorted(ended) == [0, 1, 2, 3]
