#!/usr/bin/env bash
# Packages: PyPI `kr8s` 0.20.15 and `kubernetes` 37.0.2 (36.0.3 gives the same output).
# Question: kr8s takes any object that has to_dict(). What is kr8s.objects.Pod(V1Pod) then, and can it be
#   sent?
# One would guess: a Pod like one made of the same manifest, so .spec.nodeName is "n1" and only what was set
#   is sent.
# Seen: no error, and a Pod whose keys are Python names: spec has node_name and no nodeName, so
#   .spec.get("nodeName") is None, a container says image_pull_policy, and a null stands for every field
#   never set (all of the pod spec's). An API server knows no field node_name. kr8s itself then adds the
#   right apiVersion beside the wrong api_version. Through ApiClient().sanitize_for_serialization() first,
#   all is well.
# Why: APIObject.__init__ keeps to_dict()'s answer as the raw manifest. Both libraries have a method of that
#   name: kr8s's own and lightkube's answer in the API's spelling, that of `kubernetes` in Python's
#   attribute names.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kr8s==0.20.15 kubernetes==37.0.2

cat > ask.py <<'E'
import kr8s.objects
from kubernetes import client

model = client.V1Pod(
    api_version='v1',
    kind='Pod',
    metadata=client.V1ObjectMeta(name='p', namespace='default'),
    spec=client.V1PodSpec(node_name='n1', containers=[client.V1Container(name='c', image_pull_policy='Always')]),
)
unused = object()  # the API's client: a manifest needs none
manifests = {'model': model, 'sanitized': client.ApiClient().sanitize_for_serialization(model)}
for name, manifest in manifests.items():
    pod = kr8s.objects.Pod(manifest, api=unused)
    container = pod.raw['spec']['containers'][0]
    print(name, 'nodeName:', pod.spec.get('nodeName'), 'node_name:', pod.spec.get('node_name'))
    print(name, 'policy:', container.get('imagePullPolicy'), container.get('image_pull_policy'))
    print(name, 'nulls in the spec:', sum(value is None for value in pod.raw['spec'].values()) > 30)
    print(name, 'version:', pod.raw['apiVersion'], pod.raw.get('api_version'))
E
venv/bin/python ask.py | tee seen

cat > expected <<'E'
model nodeName: None node_name: n1
model policy: None Always
model nulls in the spec: True
model version: v1 v1
sanitized nodeName: n1 node_name: None
sanitized policy: Always None
sanitized nulls in the spec: False
sanitized version: v1 None
E
diff -u expected seen
