#!/usr/bin/env bash
# Package: PyPI `kopf` 1.45.2.
# Question: the server answers the operator's watch with 410 Gone, and object b was deleted meanwhile. What
#   do an @kopf.on.event handler and an @kopf.index hear of it after kopf has listed anew?
# One would guess: the index is what the server has, as an informer's store of client-go is after a new
#   list, and the handler gets a DELETED for b (client-go's handlers do, with a tombstone).
# Seen: nothing. The objects that still exist come a second time with the type None (not ADDED); b is never
#   mentioned again and stays in the index for the life of the process. A handler that keeps its own dict
#   leaks alike.
# Why: kopf keeps no store of the objects it has seen: watching.continuous_watch yields the items of a list
#   as events and then watches, so nothing compares the new list with the old one, and an index drops a key
#   only on an event of that very object.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kopf==1.45.2

cat > ask.py <<'E'
import http.server
import json
import logging
import threading
import time
import urllib.parse

import kopf

logging.disable(logging.CRITICAL)
VERBS = ['list', 'watch', 'get', 'patch']
DISCOVERY = {
    '/api': {'versions': ['v1']},
    '/apis': {'groups': []},
    '/api/v1': {'resources': [
        {'name': 'namespaces', 'kind': 'Namespace', 'singularName': '', 'namespaced': False, 'verbs': VERBS},
        {'name': 'configmaps', 'kind': 'ConfigMap', 'singularName': '', 'namespaced': True, 'verbs': VERBS},
    ]},
}
lists, watches, seen = [], [], []
indexed = None
finished = threading.Event()


def configmap(name, version):
    metadata = {'name': name, 'namespace': 'default', 'uid': f'uid-{name}', 'resourceVersion': version}
    return {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': metadata}


class ApiServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.end_headers()
        if url.path in DISCOVERY:
            self.send(DISCOVERY[url.path])
        elif 'watch' in query:
            watches.append(query['resourceVersion'])
            self.watch()
        else:
            lists.append(query)
            names = 'ab' if len(lists) == 1 else 'a'
            version = {'resourceVersion': f'{len(lists)}0'}
            self.send({'metadata': version, 'items': [configmap(name, '5') for name in names]})

    def watch(self):
        while len(seen) < 1 + len(watches):  # all that was listed is to be handled first
            time.sleep(0.1)
        if len(watches) == 1:
            self.send({'type': 'ERROR', 'object': {'kind': 'Status', 'code': 410, 'reason': 'Expired'}})
        else:
            self.send({'type': 'MODIFIED', 'object': configmap('a', '30')})
            finished.wait()

    def send(self, value):
        self.wfile.write(json.dumps(value).encode() + b'\n')

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), ApiServer)
threading.Thread(target=server.serve_forever, daemon=True).start()


@kopf.on.login()
def login(**_):
    return kopf.ConnectionInfo(server=f'http://127.0.0.1:{server.server_port}')


@kopf.index('configmaps')
def names(name, **_):
    return {name: True}


@kopf.on.event('configmaps')
async def note(event, name, names, **_):
    global indexed
    seen.append((name, event['type']))
    if event['type'] == 'MODIFIED':
        indexed = sorted(names)
        finished.set()


settings = kopf.OperatorSettings()
settings.scanning.disabled = True
settings.posting.enabled = False
kopf.run(clusterwide=True, standalone=True, settings=settings, stop_flag=finished)
print('watched from', watches[:2])
for name in 'ab':
    print(name, [kind for seen_name, kind in seen if seen_name == name])
print('index', indexed)
E
timeout 120 venv/bin/python ask.py | tee seen

cat > expected <<'E'
watched from ['10', '20']
a [None, None, 'MODIFIED']
b [None]
index ['a', 'b']
E
diff -u expected seen
