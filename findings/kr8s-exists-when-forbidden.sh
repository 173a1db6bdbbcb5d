#!/usr/bin/env bash
# Package: PyPI `kr8s` 0.20.15.
# Question: the API server answers the read of a ConfigMap with 403 (no permission), with 503 (overloaded),
#   or with 404. What do exists() and exists(ensure=True) say?
# One would guess: False and NotFoundError for 404; for the others an error that tells the status, as
#   refresh() raises.
# Seen: False and NotFoundError for all three. A controller that creates what does not exist, or cleans up
#   what has lost its owner, acts on an outage as on an absence. refresh() tells them apart, by ServerError
#   and NotFoundError.
# Why: async_exists asks with raise_for_status=False and looks whether the status is 200; every other one is
#   "not there".
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kr8s==0.20.15

cat > ask.py <<'E'
import http.server
import json
import threading

import kr8s
import kr8s.objects


class ApiServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rsplit('/', 1)[-1]
        status = int(name) if name.isdigit() else 200
        body = json.dumps({'kind': 'Status', 'code': status, 'message': 'no', 'gitVersion': 'v1.35.0'}).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ask(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), ApiServer)
threading.Thread(target=server.serve_forever, daemon=True).start()
api = kr8s.api(url=f'http://127.0.0.1:{server.server_port}')
for status in (200, 404, 403, 503):
    manifest = {'metadata': {'name': str(status), 'namespace': 'default'}}
    one = kr8s.objects.ConfigMap(manifest, api=api)
    print(status, ask(one.exists), ask(lambda: one.exists(ensure=True)), ask(one.refresh))
E
KUBECONFIG="$tmp/none" venv/bin/python ask.py | tee seen

cat > expected <<'E'
200 True True None
404 False NotFoundError NotFoundError
403 False NotFoundError ServerError
503 False NotFoundError ServerError
E
diff -u expected seen
