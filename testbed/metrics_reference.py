"""`python -m testbed.metrics_reference`: write docs/metrics.md from the code and the alert rules.

Names, types, labels and help texts are those of the processes' own registries, as a scrape of a new
process returns them. A test compares.
"""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from podnuma.agent.settings import MetricNames
from podnuma.agent.status import metrics as agent
from podnuma.operator import metrics as operator
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "metrics.md"
ALERTS = ROOT / "deploy" / "chart" / "podnuma" / "files" / "alerts.yaml"

_INTRODUCTION = """\
<!-- Written by `make docs-metrics` from the code and the alert rules; edit them there. -->

# Metrics and alerts

Operator and agents answer `/metrics` on their one port (8080 and 9465), beside `/healthz` and `/readyz`.
Labels have few values: never a pod, a container or a CPU list. With the chart's `monitoring.podMonitor` or
`monitoring.serviceMonitor` every series also has `node` and `component` (operator or agent).

With `monitoring.secure.enabled` (`--metrics-secure` of both processes) the port speaks TLS, and `/metrics`
answers only accounts that the API server lets `get` that path: bind Prometheus' account to the ClusterRole
that the chart brings. `podnuma-metrics-reader` is its name in namespace `podnuma-system`. A token that the
API server does not know gets 401, an account without the right 403 and its name, and everybody new 503
while the API server does not answer; probes need no token. The certificate comes from a secret
(`monitoring.secure.secretName`, with `ca.crt` for the monitors), is read again when it is replaced, or else
is made by each process at its start, which monitors cannot verify.

The three `resource_manager_*` metrics are the kubelet's own, with its names, labels and meaning as announced
for v1.36, so that dashboards for the native feature work. `--metric-names v1.37` (`agent.metricNames` in the
chart) exports them under the names that v1.37 gave them, with the prefix `kubelet_`.

The Grafana dashboard is [dashboard.json](../deploy/chart/podnuma/files/dashboard.json), the rules are
[alerts.yaml](../deploy/chart/podnuma/files/alerts.yaml); `monitoring.dashboard` and `monitoring.rules`
install them. Each panel answers one question, and each of its queries is asked of a Prometheus that scrapes
a live run (`make test-dashboard`). What the [web page](ui.md) shows of the same nodes needs no Prometheus.
"""


def families(part: str) -> dict[str, tuple[str, str, str]]:
    """Return type, labels and help text of every metric of "operator" or "agent", by its name in a query."""
    text = _exposition(part)
    labels = _LABELS[part]
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            continue
        name = (
            f"{family.name}_total"
            if family.type == "counter" and _totalled(text, family.name)
            else family.name
        )
        seen = {label for sample in family.samples for label in sample.labels} - {"le"}
        names = labels.get(family.name, ()) or tuple(sorted(seen))
        found[name] = (family.type, ", ".join(names), family.documentation.removeprefix("[ALPHA] "))
    return found


# Labels of families that have no series at the start.
_LABELS: dict[str, dict[str, tuple[str, ...]]] = {
    "operator": {
        "podnuma_api_requests": ("verb", "resource", "code"),
        "podnuma_api_request_duration_seconds": ("verb",),
    },
    "agent": {
        "resource_manager_allocations": ("resource_name", "source"),
        "resource_manager_allocation_errors": ("resource_name", "source"),
        "resource_manager_container_assignments": ("resource_name", "assignment_type"),
        "podnuma_exclusive_cpus_per_numa": ("numa_node",),
        "podnuma_hook_wait_seconds": ("decided",),
        "podnuma_api_errors": ("reason",),
    },
}


def _exposition(part: str) -> str:
    if part == "operator":
        made = operator.Metrics()
        needed = [one.name for one in fields(operator.Snapshot) if one.default_factory is MISSING]
        nothing: dict[str, Any] = dict.fromkeys(needed, 0)
        made.watch_state(lambda: operator.Snapshot(**nothing))
        return made.exposition()[1].decode()
    return agent.AgentMetrics(MetricNames.V1_36, agent.GaugeValues).exposition()[1].decode()


def _totalled(text: str, name: str) -> bool:
    return f"# TYPE {name}_total " in text


def alerts() -> Iterator[dict[str, Any]]:
    """Yield the alert rules."""
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        yield from group["rules"]


def page() -> str:
    """Return the whole page."""
    parts = [_INTRODUCTION]
    for part, title in (("operator", "Operator"), ("agent", "Agent")):
        rows = [
            f"| `{name}` | {kind} | {labels} | {text} |"
            for name, (kind, labels, text) in families(part).items()
        ]
        parts.append(
            f"## {title}\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
            + "\n".join(rows)
            + "\n"
        )
    rules = [
        f"| `{rule['alert']}` | {rule['labels']['severity']} | {rule['annotations']['description'].strip()} |"
        for rule in alerts()
    ]
    parts.append(
        "## Alerts\n\n| alert | severity | what to do |\n| --- | --- | --- |\n" + "\n".join(rules) + "\n"
    )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")
