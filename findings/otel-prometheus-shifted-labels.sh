#!/usr/bin/env bash
# Package: PyPI `opentelemetry-exporter-prometheus` 0.66b2, with `opentelemetry-sdk` 1.45.2 and `prometheus-client`
#   0.26.0.
# Question: two libraries of a process measure under one name of the semantic conventions, each with a meter of its
#   own: one the memory of a node by k8s.node.name, the other by k8s.node.name and hw.id. What does
#   Prometheus read?
# One would guess: one family whose samples have their own labels, and an empty one where an attribute is missing, as
#   it is for two points of one meter.
# Seen: the samples of the meter that was made first are right. The other's values stand one place off under the
#   first one's label names: the DIMM's id as the node's name, the node's name as the library's, and what is left
#   over is gone. The exposition is valid, nothing warns, and in the other order it is wrong in another way.
# Why: name, description and unit make a family, not the scope, so the second metric joins the first's, made with
#   the first's label names. Each metric's rows are filled up and sorted for its own names alone, and
#   prometheus-client's add_metric() pairs names and values by place and ends at the shorter list.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opentelemetry-exporter-prometheus==0.66b2 \
    opentelemetry-sdk==1.45.2 prometheus-client==0.26.0

cat > ask.py <<'E'
import prometheus_client
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider

NODE, BOTH = {'k8s.node.name': 'worker'}, {'k8s.node.name': 'worker', 'hw.id': 'dimm-3'}


def ask(*measured):
    registry = prometheus_client.CollectorRegistry()
    reader = PrometheusMetricReader(disable_target_info=True, registry=registry)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    for value, (library, attributes) in enumerate(measured, 1):
        gauge = provider.get_meter(library).create_gauge('k8s.node.memory.usage', 'By', 'Memory usage of the node')
        gauge.set(value, attributes)
    print(*[library for library, _ in measured], sep=', ')
    for line in prometheus_client.generate_latest(registry).decode().splitlines():
        if not line.startswith('#'):
            print(' ', line)
    provider.shutdown()


ask(('a', NODE), ('a', BOTH))
ask(('a', NODE), ('b', BOTH))
ask(('b', BOTH), ('a', NODE))
E
venv/bin/python ask.py | tee seen

cat > expected <<'E'
a, a
  k8s_node_memory_usage_bytes{hw_id="",k8s_node_name="worker",otel_scope_name="a",otel_scope_schema_url="",otel_scope_version=""} 1.0
  k8s_node_memory_usage_bytes{hw_id="dimm-3",k8s_node_name="worker",otel_scope_name="a",otel_scope_schema_url="",otel_scope_version=""} 2.0
a, b
  k8s_node_memory_usage_bytes{k8s_node_name="worker",otel_scope_name="a",otel_scope_schema_url="",otel_scope_version=""} 1.0
  k8s_node_memory_usage_bytes{k8s_node_name="dimm-3",otel_scope_name="worker",otel_scope_schema_url="b",otel_scope_version=""} 2.0
b, a
  k8s_node_memory_usage_bytes{hw_id="dimm-3",k8s_node_name="worker",otel_scope_name="b",otel_scope_schema_url="",otel_scope_version=""} 1.0
  k8s_node_memory_usage_bytes{hw_id="worker",k8s_node_name="a",otel_scope_name="",otel_scope_schema_url=""} 2.0
E
diff -u expected seen
