#!/usr/bin/env bash
# Package: PyPI `cloudcoil` 0.6.0, the newest for Python 3.11 to 3.13.
# Question: Config(cache=True) lets list() answer from an informer's cache. Does a selector give the same objects as
#   without the cache, where the API server applies it?
# One would guess: yes, or that the cache asks the server about a selector that it cannot apply itself.
# Seen: `key=value` does. A selector with two terms, `==`, `in (...)`, `!key` and each field but the name and the
#   namespace give all objects, as if nothing had been asked for; `!=` gives none. No error and no log. And as
#   list() falls back to the server until the cache has synced, the same call is right at first and wrong later.
# Why: the informer splits a selector at each "=" and expects two parts; with any other number it returns its input,
#   and "tier!=db" becomes a label named "tier!". 0.8.0, for Python 3.14, has the same code (read, not run).
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check cloudcoil==0.6.0

cat > ask.py <<'E'
import http.server
import json
import threading
import urllib.parse
from typing import Literal

from cloudcoil.client import Config
from cloudcoil.resources import Resource
from pydantic import Field


class Node(Resource):
    api_version: Literal['v1'] | None = Field('v1', alias='apiVersion')
    kind: Literal['Node'] | None = 'Node'


LABELS = {'a': {'tier': 'db', 'zone': '1'}, 'b': {'tier': 'db', 'zone': '2'}, 'c': {'tier': 'web', 'zone': '1'}}
ITEMS = [{
    'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': name, 'labels': labels, 'resourceVersion': '1'},
} for name, labels in LABELS.items()]
ANSWERS = {
    '/version': {'major': '1', 'minor': '29'},
    '/api': {'versions': ['v1']},
    '/apis': {'groups': []},
    '/api/v1': {'resources': [{'name': 'nodes', 'kind': 'Node', 'namespaced': False}]},
    '/api/v1/nodes': {
        'apiVersion': 'v1', 'kind': 'NodeList', 'metadata': {'resourceVersion': '1'}, 'items': ITEMS,
    },
}


class ApiServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.end_headers()
        if 'watch' in query:
            threading.Event().wait()  # nothing changes
        asked.append(query.get('labelSelector') or query.get('fieldSelector'))
        self.wfile.write(json.dumps(ANSWERS[url.path]).encode())

    def log_message(self, *_):
        pass


asked = []
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), ApiServer)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
config = Config(server=f'http://127.0.0.1:{server.server_port}', cache=True)
config.activate()
nodes = config.client_for(Node)
assert config.cache.wait()


def ask(right, **selector):
    asked.clear()
    got = ' '.join(node.name for node in nodes.list(**selector).items) or '-'
    assert not asked  # the server, that is
    print(f'{"".join(selector.values()):24} {right:6} {got}')


print(f'{"":24} {"right":6} cached')
ask('a b', label_selector='tier=db')
ask('a b', label_selector='tier==db')
ask('a', label_selector='tier=db,zone=1')
ask('c', label_selector='tier!=db')
ask('a b', label_selector='tier in (db)')
ask('-', label_selector='!tier')
ask('a', field_selector='metadata.name=a')
ask('-', field_selector='spec.unschedulable=true')
E
env -u KUBECONFIG HOME="$tmp" timeout 120 venv/bin/python ask.py | tee seen

cat > expected <<'E'
                         right  cached
tier=db                  a b    a b
tier==db                 a b    a b c
tier=db,zone=1           a      a b c
tier!=db                 c      -
tier in (db)             a b    a b c
!tier                    -      a b c
metadata.name=a          a      a
spec.unschedulable=true  -      a b c
E
diff -u expected seen
