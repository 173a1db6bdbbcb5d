"""Registers the node: makes its NodeTopology, without settings, where there is none.

So the hardware of a node is known before anybody writes a NodeProfile for it. Once per process: an object
that is deleted later was deleted on purpose, often together with the Node.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from podnuma.agent.apiserver.client import Json
from podnuma.agent.desired.state import DesiredState
from podnuma.api.node_topology import registration
from podnuma.api.resource_types import NODE_TOPOLOGY
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors
from podnuma.plumbing.threads import in_thread

logger = logging.getLogger(__name__)

_LOOK = 60.0  # seconds of one wait for the first list


async def register(
    node: str,
    desired: DesiredState,
    create: Callable[[str, Json], Json],
    *,
    rng: random.Random,
    backoff: Backoff = Backoff(1.0, 300.0),  # noqa: B008 - a frozen value
) -> None:
    """Return when the NodeTopology exists, or did when looked for. `create` blocks, raises KubeError."""
    while not await desired.wait_for_topology_list(_LOOK):
        pass
    failures = 0
    while not desired.node_config.exists:
        try:
            await in_thread(create, NODE_TOPOLOGY.path(), registration(node))
        except errors.AlreadyExistsError:
            return
        except errors.KubeError as error:
            failures += 1
            pause = error.retry_after or backoff.delay(failures, rng)
            if failures == 1:
                logger.warning(
                    "NodeTopology %s cannot be created, retrying in %.0f s: %s", node, pause, error
                )
            await asyncio.sleep(pause)
        else:
            logger.info("NodeTopology %s created; it has no settings yet", node)
            return
