"""What admission looks at (`api.pod_admission`): from a cluster or files, and from the manifests."""

from collections.abc import Callable, Sequence
from typing import Final

from podnuma.api.pod_admission import AdmissionPolicies
from podnuma.api.resource_types import LIMIT_RANGE
from podnuma.cli.objects import queries
from podnuma.cli.objects.cluster_facts import release_of, server_version
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import FileSource, ObjectSource, read_or_note

_FIX_DEFAULTING: Final = (1, 37)  # PodLevelResourcesFixDefaulting, on by default


def admission_policies(
    source: ObjectSource, documents: Sequence[Document], namespace: str, note: Callable[[str], None]
) -> AdmissionPolicies:
    """Read what counts for manifests, which are in `namespace` if they name none.

    Without a cluster the API server is taken for v1.36.
    """
    spaces = sorted({_namespace_of(document, namespace) for document in documents} or {namespace})
    asked = [queries.runtime_classes(), queries.priority_classes(), *map(queries.limit_ranges, spaces)]
    found = [read_or_note(source, query, note) for query in asked]
    written = [
        [document.value for document in documents if document.kind == query.type.kind] for query in asked[:2]
    ]
    ranges = [value for values in found[2:] for value in values or ()]
    ranges += [
        _within(document.value, namespace) for document in documents if document.kind == LIMIT_RANGE.kind
    ]
    complete = not isinstance(source, FileSource) and None not in found[:2]
    classes = [[*(values or ()), *own] for values, own in zip(found[:2], written, strict=True)]
    release = release_of(server_version(source) or "")
    fix_defaulting = release is not None and release >= _FIX_DEFAULTING
    return AdmissionPolicies.of(ranges, *classes, complete=complete, fix_defaulting=fix_defaulting)


def _namespace_of(document: Document, namespace: str) -> str:
    metadata = document.value.get("metadata")
    named = metadata.get("namespace") if isinstance(metadata, dict) else None
    return named if isinstance(named, str) and named else namespace


def _within(value: Json, namespace: str) -> Json:
    return {**value, "metadata": {"namespace": namespace, **(value.get("metadata") or {})}}
