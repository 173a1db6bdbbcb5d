"""The job of `helm test`: is podnuma there, and ready? Standard library only; runs in podnuma's own image.

One line per question. Whatever is not ready yet is asked again until the time is over; then the exit code
is 1 and each line that failed says what to do next.
"""

import argparse
import http.client
import json
import os
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KINDS = ("nodeprofiles", "nodetopologies", "podallocations")

Get = Callable[[str], dict[str, Any] | None]
"""What the API server has at a path; None if there is nothing."""
Answer = tuple[bool, str]


def definitions(get: Get) -> Answer:
    """Tell whether the API server serves podnuma's resources."""
    found = get("/apis/podnuma.dev/v1alpha1") or {"resources": []}
    served = {resource["name"] for resource in found["resources"]}
    missing = [kind for kind in KINDS if kind not in served]
    if missing:
        return False, f"definitions: {', '.join(missing)} not served; install with crds.enabled=true"
    return True, "definitions: served"


def operator(get: Get, namespace: str, name: str) -> Answer:
    """Tell whether a replica of this version decides."""
    found = get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    if found is None:
        return False, f"operator: no Deployment {namespace}/{name}; was it deleted?"
    wanted, status = found["spec"]["replicas"], _present(found)
    ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0))
    if ready:
        return True, f"operator: {ready} of {wanted} replicas ready"
    return False, f"operator: not ready; see kubectl -n {namespace} describe deployment {name}"


def agents(get: Get, namespace: str, name: str) -> Answer:
    """Tell whether every node that should have an agent has a ready one."""
    found = get(f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}")
    if found is None:
        return False, f"agents: no DaemonSet {namespace}/{name}; was it deleted?"
    status = _present(found)
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    if not wanted:
        return False, "agents: no node is selected; see agent.nodeSelector, .affinity and .excludedNodes"
    if ready < wanted:
        next_step = f"kubectl -n {namespace} describe daemonset {name}"
        return False, f"agents: {ready} of {wanted} ready; see {next_step}"
    return True, f"agents: {ready} of {wanted} ready"


def _present(found: dict[str, Any]) -> dict[str, Any]:
    """Return the status, or nothing if it is older than the spec."""
    status: dict[str, Any] = found.get("status", {})
    return status if status.get("observedGeneration") == found["metadata"]["generation"] else {}


def reader(account: Path) -> Get:
    """Return how to read from the API server as the pod's service account."""
    trust = ssl.create_default_context(cafile=str(account / "ca.crt"))
    # As kubectl, and as podnuma, of which this imports nothing: podnuma.plumbing.kube.endpoint says why.
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]

    def get(path: str) -> dict[str, Any] | None:
        connection = http.client.HTTPSConnection(host, int(port), timeout=10, context=trust)
        try:
            token = (account / "token").read_text().strip()
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            return None
        if answer.status != http.HTTPStatus.OK:
            message = f"{path}: {answer.status} {answer.reason}"
            raise OSError(message)
        found: dict[str, Any] = json.loads(body)
        return found

    return get


def main() -> int:
    """Ask until all is ready or the time is over."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--operator", required=True, help="its Deployment")
    parser.add_argument("--agent", required=True, help="its DaemonSet")
    parser.add_argument("--timeout", type=float, default=120, help="seconds")
    parser.add_argument("--account", type=Path, default=ACCOUNT, help="folder of token and ca.crt")
    options = parser.parse_args()
    get, end = reader(options.account), time.monotonic() + options.timeout
    questions: list[Callable[[], Answer]] = [
        lambda: definitions(get),
        lambda: operator(get, options.namespace, options.operator),
        lambda: agents(get, options.namespace, options.agent),
    ]
    failed = 0
    for question in questions:
        good, line = _ask(question)
        while not good and time.monotonic() < end:
            time.sleep(1)
            good, line = _ask(question)
        failed += not good
        sys.stdout.write(f"{'ok  ' if good else 'FAIL'}  {line}\n")
    return 1 if failed else 0


def _ask(question: Callable[[], Answer]) -> Answer:
    try:
        return question()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return False, f"the API server does not answer as it should: {error}"


if __name__ == "__main__":
    sys.exit(main())
