#!/usr/bin/env bash
# Package: PyPI `pykube-ng` 23.6.0.
# Question: what does Pod.objects(api).get(name="a", namespace="kube-system", selector={"app": "x"}) ask
#   for?
# One would guess: pod a of kube-system, if it has the label: `get` is described as getting one object "by
#   name, namespace, label", and get(namespace=..., selector=...) without a name does honour both.
# Seen: with a name the other arguments are dropped without a word: it reads pod a of the *default*
#   namespace, whatever its labels. Where both namespaces have a pod of that name, one gets the wrong one,
#   and get_or_none() answers None for a pod that is there.
# Why: Query.get hands over to get_by_name as soon as "name" is among the arguments and passes the name
#   alone. Asked as objects(api, namespace="kube-system").get(name="a"), it is right.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pykube-ng==23.6.0

cat > ask.py <<'E'
import http.server
import json
import threading

import pykube

asked = []


class ApiServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        one = self.path.split('?')[0].endswith('/a')
        namespace = self.path.split('/')[4]
        pod = {'metadata': {'name': 'a', 'namespace': namespace}}
        body = json.dumps(pod if one else {'items': [pod]}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), ApiServer)
threading.Thread(target=server.serve_forever, daemon=True).start()
api = pykube.HTTPClient(pykube.KubeConfig.from_url(f'http://127.0.0.1:{server.server_port}'))
pods = pykube.Pod.objects(api)
for arguments in (
    {'namespace': 'kube-system', 'selector': {'app': 'x'}},
    {'name': 'a', 'namespace': 'kube-system', 'selector': {'app': 'x'}},
):
    pod = pods.get(**arguments)
    print(', '.join(arguments), '->', asked[-1], '->', pod.namespace)
pod = pykube.Pod.objects(api, namespace='kube-system').get(name='a')
print('namespace of the query ->', asked[-1], '->', pod.namespace)
E
venv/bin/python ask.py | tee seen

cat > expected <<'E'
namespace, selector -> /api/v1/namespaces/kube-system/pods?labelSelector=app%3Dx -> kube-system
name, namespace, selector -> /api/v1/namespaces/default/pods/a -> default
namespace of the query -> /api/v1/namespaces/kube-system/pods/a -> kube-system
E
diff -u expected seen
