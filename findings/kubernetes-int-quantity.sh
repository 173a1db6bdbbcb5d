#!/usr/bin/env bash
# Package: PyPI `kubernetes` 37.0.2, beside 36.0.3.
# Question: a custom resource's pod template, or a pod written by a mutating webhook, holds `resources:
#   {limits: {cpu: 2}}` with a bare number, as the API server accepts on input. Can it be turned into the
#   client's models?
# One would guess: yes, as ever: the generated models hold whatever JSON held, or turn it into the string
#   "2".
# Seen: 36 turns 2 into "2" when it deserialises, and keeps the number when a model is built by hand. 37
#   raises pydantic's ValidationError both times, and so it does for a label whose value is a number and for
#   a float where an integer is wanted. The unknown field beside it is dropped without a word in both.
# Why: 37's models are pydantic ones with strict types, so ApiClient.deserialize validates instead of
#   converting; until 36 ApiClient called the class named in openapi_types, here str(), on each value.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

cat > ask.py <<'E'
import json
import sys

from kubernetes import client


class Response:
    def __init__(self, value):
        self.data = json.dumps(value)


def deserialize(value, kind):
    api = client.ApiClient()
    if sys.argv[1] == '36':
        return api.deserialize(Response(value), kind)
    return api.deserialize(json.dumps(value), kind, 'application/json')


def ask(what, call):
    try:
        answer = call()
    except Exception as error:
        answer = type(error).__name__
    print(f'{sys.argv[1]} {what}: {answer!r}')


ask('read cpu: 2', lambda: deserialize({'limits': {'cpu': 2}}, 'V1ResourceRequirements').limits)
ask('read cpu: "2"', lambda: deserialize({'limits': {'cpu': '2'}}, 'V1ResourceRequirements').limits)
ask('build cpu=2', lambda: client.V1ResourceRequirements(limits={'cpu': 2}).limits)
ask('build label 1', lambda: client.V1ObjectMeta(labels={'zone': 1}).labels)
ask('build seconds 1.0', lambda: client.V1Probe(initial_delay_seconds=1.0).initial_delay_seconds)
ask('read a field of tomorrow', lambda: client.ApiClient().sanitize_for_serialization(
    deserialize({'name': 'a', 'pinning': 'strict'}, 'V1Container')))
E
for version in 36.0.3 37.0.2; do
    python3 -m venv "$version"
    "$version/bin/pip" install --quiet --disable-pip-version-check "kubernetes==$version"
    "$version/bin/python" ask.py "${version%%.*}"
done | tee seen

cat > expected <<'E'
36 read cpu: 2: {'cpu': '2'}
36 read cpu: "2": {'cpu': '2'}
36 build cpu=2: {'cpu': 2}
36 build label 1: {'zone': 1}
36 build seconds 1.0: 1.0
36 read a field of tomorrow: {'name': 'a'}
37 read cpu: 2: 'ValidationError'
37 read cpu: "2": {'cpu': '2'}
37 build cpu=2: 'ValidationError'
37 build label 1: 'ValidationError'
37 build seconds 1.0: 'ValidationError'
37 read a field of tomorrow: {'name': 'a'}
E
diff -u expected seen
