"""The load with clients that try again: where connections break or hang although there is somebody who serves."""

from __future__ import annotations

import asyncio
import time

import aiohttp

from tests.lab.load import PATIENCE_SECONDS, Failure, Load

# What hangs is given up after this time and sent again, within the client's whole patience.
_TRY_SECONDS = 3.0
_PAUSE_SECONDS = 0.05


class PersistentLoad(Load):
    """An address that moves takes the open connections along with nobody's goodbye: its client learns by a reset, or by silence."""

    tries_that_failed = 0

    async def _request(self, session: aiohttp.ClientSession, path: str, due: float, start: float) -> None:
        result = self.result
        result.requests += 1
        end = time.monotonic() + PATIENCE_SECONDS
        how = ""
        while (left := end - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(_TRY_SECONDS, left)), session.get(path) as answer:
                    await answer.read()
                    served_by = answer.headers.get("X-Served-By")
                    if answer.ok and answer.status < 300:
                        result.latencies.append(time.monotonic() - due)
                        if served_by:
                            result.by_instance[served_by] += 1
                        return
                    how = f"status {answer.status} from {served_by or 'the balancer'}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                how = f"{type(error).__name__}: {error}"
            self.tries_that_failed += 1
            await asyncio.sleep(_PAUSE_SECONDS)
        result.failures.append(Failure(round(due - start, 3), f"GET {path}", how))
