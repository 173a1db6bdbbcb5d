#!/usr/bin/env bash
# Package: PyPI `prometheus-client` 0.26.0, beside 0.25.0.
# Question: does clear() take a metric's values away, with labels and without? What becomes of a child that
#   one holds?
# One would guess: clear() puts a counter without labels to 0, and one with labels loses its children; a
#   child that is held, as the documentation advises, comes back when it is counted up again.
# Seen: without labels clear() returns as if all were well and nothing changes (0.25 at least failed, with
#   an AttributeError); reset() is what is meant there, and a parent with labels has no working reset().
#   After clear() or remove() a held child goes on counting, but is no part of the metric any more: its
#   increments are seen by nobody, and labels() gives another child that starts from 0.
# Why: MetricWrapperBase.clear now returns early without label names and else only replaces the dict of
#   children; children do not know their parent, so none can be put back.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

cat > ask.py <<'E'
import sys

import prometheus_client


def ask(what, call):
    try:
        answer = call()
    except Exception as error:
        answer = type(error).__name__
    print(f'{sys.argv[1]} {what}: {answer}')


registry = prometheus_client.CollectorRegistry()
plain = prometheus_client.Counter('plain', 'without labels', registry=registry)
plain.inc(5)
ask('plain.clear()', plain.clear)
ask('plain', lambda: registry.get_sample_value('plain_total'))
ask('plain.reset()', plain.reset)
ask('plain', lambda: registry.get_sample_value('plain_total'))

labelled = prometheus_client.Counter('labelled', 'with labels', ['node'], registry=registry)
held = labelled.labels('n1')
held.inc(5)
ask('labelled.reset()', labelled.reset)
ask('labelled.clear()', labelled.clear)
held.inc()
ask('labelled after held.inc()', lambda: registry.get_sample_value('labelled_total', {'node': 'n1'}))
labelled.labels('n1').inc()
held.inc()
ask('labelled after both', lambda: registry.get_sample_value('labelled_total', {'node': 'n1'}))
E
for version in 0.25.0 0.26.0; do
    python3 -m venv "$version"
    "$version/bin/pip" install --quiet --disable-pip-version-check "prometheus-client==$version"
    "$version/bin/python" ask.py "$version"
done | tee seen

cat > expected <<'E'
0.25.0 plain.clear(): AttributeError
0.25.0 plain: 5.0
0.25.0 plain.reset(): None
0.25.0 plain: 0
0.25.0 labelled.reset(): AttributeError
0.25.0 labelled.clear(): None
0.25.0 labelled after held.inc(): None
0.25.0 labelled after both: 1.0
0.26.0 plain.clear(): None
0.26.0 plain: 5.0
0.26.0 plain.reset(): None
0.26.0 plain: 0
0.26.0 labelled.reset(): AttributeError
0.26.0 labelled.clear(): None
0.26.0 labelled after held.inc(): None
0.26.0 labelled after both: 1.0
E
diff -u expected seen
