"""Room for decoded pictures: so many pixels at a time, first come, first served."""

import asyncio
import contextlib
from collections.abc import Callable


class Room:
    """Room for `size` pixels, in one event loop; a picture that is larger gets in alone."""

    def __init__(self, size: int):
        self.taken = 0  # pixels
        self._size = size
        self._turn = asyncio.Lock()  # fair: who came first is let in first, whatever would fit
        self._freed = asyncio.Event()

    async def take(self, pixels: int) -> Callable[[], None]:
        """Wait until so many pixels fit. To be called once, by any thread: what this returns, which gives them back."""
        async with self._turn:
            while self.taken + pixels > max(self._size, pixels):
                self._freed.clear()
                await self._freed.wait()
            self.taken += pixels
        loop = asyncio.get_running_loop()

        def give_back() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it all who could wait
                loop.call_soon_threadsafe(self._give_back, pixels)

        return give_back

    def _give_back(self, pixels: int) -> None:
        self.taken -= pixels
        self._freed.set()
