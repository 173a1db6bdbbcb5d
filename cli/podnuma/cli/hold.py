"""Wait after a job is done, ready and healthy, until told to stop: for a pod that must not run it twice."""

import asyncio
import signal

from podnuma.plumbing import probes


def hold(host: str, port: int) -> None:
    """Answer /healthz and /readyz with 200 until SIGTERM or SIGINT."""
    asyncio.run(_hold(host, port))


async def _hold(host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    well = probes.Probes(lambda: None, lambda: None, lambda: ("text/plain", b""))
    server = await probes.serve(well, host, port)
    await stop.wait()
    server.close()
