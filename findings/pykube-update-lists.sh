#!/usr/bin/env bash
# Package: PyPI `pykube-ng` 23.6.0.
# Question: pod.obj["spec"]["tolerations"] has the entries a and b, and a label is set. One deletes the
#   first toleration and the label from pod.obj and calls pod.update(). What is sent?
# One would guess: a patch that leaves toleration b and takes the label away; or, since update() calls
#   itself strategic, the API server merging lists by their keys.
# Seen: a plain merge patch that has *two* tolerations: b mixed with a's left-over fields, and b again. The
#   label is sent back as it was. Nothing can be deleted this way. A container deleted from the front takes
#   on the fields of the one that had its place.
# Why: APIObject.update merges the object as read back into the edited one before it sends
#   (pykube/utils.py): maps by key, so what is missing returns, and lists by position. The header is then
#   that of a JSON merge patch, in which a list replaces the server's whole list. With
#   update(is_strategic=False) the list is right; the label stays, since an absent key in a merge patch
#   means "as it is": it must be set to None.
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


class ApiServer(http.server.BaseHTTPRequestHandler):
    def do_PATCH(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        sent = json.loads(body)
        print(self.headers['Content-Type'])
        print(' tolerations', json.dumps(sent['spec']['tolerations']))
        print(' labels', json.dumps(sent['metadata'].get('labels')), flush=True)
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), ApiServer)
threading.Thread(target=server.serve_forever, daemon=True).start()
api = pykube.HTTPClient(pykube.KubeConfig.from_url(f'http://127.0.0.1:{server.server_port}'))
for arguments in ({}, {'is_strategic': False}):
    pod = pykube.Pod(api, {
        'metadata': {'name': 'p', 'namespace': 'default', 'labels': {'pinned': 'yes'}},
        'spec': {'tolerations': [{'key': 'a', 'value': '1', 'tolerationSeconds': 60}, {'key': 'b'}]},
    })
    del pod.obj['spec']['tolerations'][0]
    del pod.obj['metadata']['labels']['pinned']
    print('update', arguments)
    pod.update(**arguments)
E
venv/bin/python ask.py | tee seen

cat > expected <<'E'
update {}
application/merge-patch+json
 tolerations [{"key": "b", "value": "1", "tolerationSeconds": 60}, {"key": "b"}]
 labels {"pinned": "yes"}
update {'is_strategic': False}
application/merge-patch+json
 tolerations [{"key": "b"}]
 labels {}
E
diff -u expected seen
