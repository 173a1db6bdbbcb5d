"""Remove what a test left on a control plane that others will use."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import requests

from testbed.api import ApiStatusError

if TYPE_CHECKING:
    from testbed.api import Api

GROUP = "/apis/podnuma.dev/v1alpha1"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def wipe(api: Api) -> None:
    """Delete all pods, nodes and custom resources of podnuma at once; the resources must be served."""
    for collection in ("/api/v1/pods", f"{GROUP}/podallocations"):
        root, _, plural = collection.rpartition("/")
        for found in api.items(collection):
            metadata = found["metadata"]
            path = f"{root}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
            if metadata.get("finalizers"):
                let_go(api, path)
            delete(api, path)
    for collection in (f"{GROUP}/nodeprofiles", f"{GROUP}/nodetopologies", "/api/v1/nodes"):
        delete(api, collection)


def let_go(api: Api, path: str) -> None:
    """Remove the finalizers of an object: no operator is there to do it."""
    try:
        api.merge(path, {"metadata": {"finalizers": []}})
    except ApiStatusError as error:
        if error.code != requests.codes.not_found:
            raise


def delete(api: Api, path: str) -> None:
    """Delete an object or a collection without waiting; one that does not exist is fine."""
    try:
        api.delete(path, grace_seconds=0)
    except ApiStatusError as error:
        if error.code != requests.codes.not_found:
            raise


def no_definition_is_left(api: Api) -> bool:
    """Tell whether all custom resource definitions are gone that are being deleted; ask until it is so.

    The API server finishes a deletion by a finalizer. One that has failed waits ever longer, for minutes;
    a change of the definition has it tried at once.
    """
    found = api.items(DEFINITIONS)
    for one in found:
        change = {"metadata": {"annotations": {"test/tried-at": f"{time.time():.0f}"}}}
        with contextlib.suppress(ApiStatusError):
            api.merge(f"{DEFINITIONS}/{one['metadata']['name']}", change)
    return not found
