"""Who may read /metrics: accounts that the API server authenticates and authorizes for that path.

A request carries a bearer token. A TokenReview says whose it is, a SubjectAccessReview whether that account
may `get` the non-resource URL /metrics, which a ClusterRole grants. Nothing is decided here. While the API
server cannot be asked, nobody gets in but those whose answer is still fresh. Tokens are neither kept nor
logged: an answer is found again by the token's hash. Bounded: answers kept, questions at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from podnuma.plumbing.kube import errors

logger = logging.getLogger(__name__)

Json = dict[str, Any]
Create = Callable[[str, Json], Awaitable[Json]]
"""Create an object at a path, within a few seconds. Raises KubeError."""

METRICS = "/metrics"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_ALLOWED_SECONDS, _REFUSED_SECONDS = 60.0, 10.0
_KEPT = 256
_AT_ONCE = 4
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class ReadRefused:
    """Why somebody may not read: an HTTP status, and one sentence."""

    status: int
    sentence: str


@dataclass(frozen=True, slots=True)
class _Answer:
    refusal: ReadRefused | None
    until: float


class MetricsReaders:
    """Asks the API server about each token, once a minute at most."""

    def __init__(self, create: Create, clock: Callable[[], float]) -> None:
        self._create = create
        self._clock = clock
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._asked_in_vain = False

    async def refusal(self, authorization: str) -> ReadRefused | None:
        """Return why the sender of this Authorization header may not read; None: it may."""
        token = authorization[len(_SCHEME) :].strip()
        if not authorization.lower().startswith(_SCHEME) or not token:
            return ReadRefused(401, "send a bearer token, as of a service account")
        key = hashlib.sha256(token.encode()).digest()
        async with self._turns:
            known = self._answers.get(key)
            if known is not None and self._clock() < known.until:
                return known.refusal
            try:
                refusal = await self._ask(token)
            except errors.KubeError as error:
                return self._unknown(error)
        self._asked_in_vain = False
        self._keep(key, refusal)
        return refusal

    async def _ask(self, token: str) -> ReadRefused | None:
        review = await self._create(
            TOKEN_REVIEWS, _review("authentication.k8s.io", "Token", {"token": token})
        )
        status = review.get("status") or {}
        user = status.get("user") or {}
        if status.get("authenticated") is not True or not user.get("username"):
            return ReadRefused(401, "the API server does not know this token")
        asked = {
            "user": user["username"],
            "groups": user.get("groups") or [],
            "uid": user.get("uid") or "",
            "extra": user.get("extra") or {},
            "nonResourceAttributes": {"path": METRICS, "verb": "get"},
        }
        access = await self._create(ACCESS_REVIEWS, _review("authorization.k8s.io", "SubjectAccess", asked))
        if (access.get("status") or {}).get("allowed") is True:
            return None
        return ReadRefused(
            403, f"{user['username']} may not get {METRICS}: bind it to the ClusterRole of metrics readers"
        )

    def _keep(self, key: bytes, refusal: ReadRefused | None) -> None:
        seconds = _ALLOWED_SECONDS if refusal is None else _REFUSED_SECONDS
        self._answers[key] = _Answer(refusal, self._clock() + seconds)
        self._answers.move_to_end(key)
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)

    def _unknown(self, error: errors.KubeError) -> ReadRefused:
        if not self._asked_in_vain:
            self._asked_in_vain = True
            logger.warning(
                "nobody new may read %s: %s; podnuma needs the right to create tokenreviews and "
                "subjectaccessreviews",
                METRICS,
                error,
            )
        return ReadRefused(503, "the API server did not say who may read this; the log here says why")


def _review(group: str, kind: str, spec: Json) -> Json:
    return {"apiVersion": f"{group}/v1", "kind": f"{kind}Review", "spec": spec}
