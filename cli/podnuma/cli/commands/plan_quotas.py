"""The ResourceQuotas of a plan: those of the cluster or files, and of the manifests.

A quota is asked about all new pods of its namespace together. The API server is asked about one after
another, and in a dry run each is the first.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from podnuma.api.resource_quotas import beyond_quota, uncounted_in_quota
from podnuma.api.resource_types import RESOURCE_QUOTA
from podnuma.cli.commands.asked_nodes import Note
from podnuma.cli.commands.pod_plans import PodPlan
from podnuma.cli.objects import queries
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.running_pods import RunningCount, owner_of
from podnuma.cli.objects.sources import ObjectSource, read_or_note


def quota_refusals(
    source: ObjectSource,
    documents: Sequence[Document],
    namespace: str,
    plans: Sequence[PodPlan],
    running: RunningCount,
    note: Note,
) -> list[str]:
    """Return why quotas refuse pods of a plan; `note` hears what of the quotas is not looked at."""
    new = [plan.planned for plan in plans if not plan.running]
    spaces = sorted({one.pod.namespace for one in new})
    stalled = {owner_of(plan.planned) for plan in plans if plan.stalled}
    read = chain.from_iterable(
        read_or_note(source, queries.resource_quotas(one), note) or () for one in spaces
    )
    refusals: list[str] = []
    for quota in (*read, *_written(documents, namespace)):
        space = quota["metadata"].get("namespace") or "default"
        ours = [(one.pod, one.constraints.requests) for one in new if one.pod.namespace == space]
        gone = [
            one.counted
            for owner, pods in running.replaced_of.items()
            if owner[0] == space and owner not in stalled
            for one in pods
        ]
        if ours:
            refusals += beyond_quota(quota, ours, gone)
            if unseen := uncounted_in_quota(quota):
                note(f"not considered: {unseen}")
    return refusals


def _written(documents: Sequence[Document], namespace: str) -> Iterator[Json]:
    for one in documents:
        if one.kind == RESOURCE_QUOTA.kind:
            yield {**one.value, "metadata": {"namespace": namespace, **(one.value.get("metadata") or {})}}
