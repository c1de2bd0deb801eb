import asyncio
import contextlib

import pytest

from deploy.demo.fleet import heed_cancellation


def test_a_task_that_swallowed_its_cancellation_ends_when_it_heeds_it() -> None:
    async def deaf() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        heed_cancellation()
        raise AssertionError("it went on")

    async def story() -> None:
        heed_cancellation()
        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
