#!/usr/bin/env bash
# Package: PyPI `lightkube` 1.0.1 with `lightkube-models` 1.37.0.8.
# Question: client.watch(on_error=...) asks a handler what to do in case of errors, and it always answers to try again
#   (on_error_retry does). Does the watch live through a restart of the API server?
# One would guess: yes: the handler is asked about every error, and is given the number of failures in a row.
# Seen: a stream that breaks and an answer 503 are brought to the handler, and the watch goes on. A connection that is
#   refused raises ConnectError out of the loop, and the handler is not asked. A restart has all three, one after
#   the other, so it is the second attempt that ends the watch, not the break.
# Why: in the loop of watch(), sync and async, the request is sent before the `try` whose `except` asks the handler;
#   inside are the status of the answer and its lines only.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check lightkube==1.0.1 lightkube-models==1.37.0.8

cat > ask.py <<'E'
import http.server
import json
import logging
import threading

import lightkube
from lightkube.config.kubeconfig import Cluster, KubeConfig, User
from lightkube.resources.core_v1 import Node
from lightkube.types import OnErrorAction, OnErrorResult

logging.disable(logging.CRITICAL)
EVENT = {'type': 'ADDED', 'object': {
    'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': 'worker', 'resourceVersion': '7'},
}}


class ApiServer(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        """Answer a watch with an event and break the stream, or with 503 once this is wanted."""
        self.close_connection = True
        if self.server.unavailable:
            self.send_response(503)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', '2')
            self.end_headers()
            self.wfile.write(b'{}')
            return
        line = json.dumps(EVENT).encode() + b'\n'
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Transfer-Encoding', 'chunked')
        self.end_headers()
        self.wfile.write(b'%x\r\n%s\r\n' % (len(line), line))

    def log_message(self, *_):
        pass


def ask(what, fail):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), ApiServer)
    server.unavailable = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asked = []

    def again(error, count):
        asked.append(type(error).__name__)
        if len(asked) == 3:
            return OnErrorResult(OnErrorAction.STOP)
        return OnErrorResult(OnErrorAction.RETRY)

    cluster = Cluster(server=f'http://127.0.0.1:{server.server_port}')
    client = lightkube.Client(KubeConfig.from_one(cluster=cluster, user=User()))
    try:
        for _ in client.watch(Node, on_error=again):
            fail(server)
        end = 'stopped by the handler'
    except Exception as error:
        end = f'raised {type(error).__name__}'
    print(f'{what}: the handler was asked about {", ".join(asked)}; {end}')
    server.shutdown()


def unavailable(server):
    server.unavailable = True


def refuses(server):
    server.shutdown()
    server.server_close()


ask('breaks again and again', lambda _: None)
ask('breaks, then 503', unavailable)
ask('breaks, then refuses', refuses)
E
timeout 120 venv/bin/python ask.py | tee seen

cat > expected <<'E'
breaks again and again: the handler was asked about RemoteProtocolError, RemoteProtocolError, RemoteProtocolError; stopped by the handler
breaks, then 503: the handler was asked about RemoteProtocolError, HTTPStatusError, HTTPStatusError; stopped by the handler
breaks, then refuses: the handler was asked about RemoteProtocolError; raised ConnectError
E
diff -u expected seen
