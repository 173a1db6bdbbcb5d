#!/usr/bin/env bash
# Package: PyPI `kubernetes` 37.0.2, leaderelection with a LeaseLock.
# Question: a leader can renew its lease no more. Does it hear of it, by onstopped_leading, once renew_deadline is
#   over, whatever the reason is?
# One would guess: yes: as in client-go, which counts every error as a failed try. That callback is where the
#   work is stopped that nobody else may do at the same time.
# Seen: yes if the API server answers 503. If it does not answer at all (here it refuses connections, as when it
#   restarts or the network is cut), run() raises at the first try and does not wait for the deadline;
#   onstopped_leading is never called, and the thread of onstarted_leading goes on with its work, whoever takes the
#   lease once it is over. The exception from run() is the only sign.
# Why: LeaseLock and ConfigMapLock catch ApiException alone. That is what the client raises for an answer; what has
#   no answer is an error of urllib3 (MaxRetryError), and it leaves the renew loop and run() as it came. The
#   thread of the callback is a daemon of its own, which ends with the process and not with run().
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kubernetes==37.0.2

cat > ask.py <<'E'
import http.server
import json
import logging
import threading

from kubernetes import client
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

logging.disable(logging.CRITICAL)


class ApiServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.lease is None:
            self.answer(404, {'kind': 'Status', 'code': 404, 'reason': 'NotFound'})
        else:
            self.answer(200, self.server.lease)

    def do_POST(self):
        self.write()

    def do_PUT(self):
        self.write()
        self.server.renewed.set()

    def write(self):
        self.server.lease = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        self.answer(200, self.server.lease)

    def answer(self, code, value):
        if self.server.fails:
            code, value = 503, {'kind': 'Status', 'code': 503, 'reason': 'ServiceUnavailable'}
        content = json.dumps(value).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def ask(what, fail):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), ApiServer)
    server.lease, server.fails, server.renewed = None, False, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configuration = client.Configuration(host=f'http://127.0.0.1:{server.server_port}')
    client.Configuration.set_default(configuration)
    stop, calls, ended = threading.Event(), [], []

    def work():
        calls.append('started')
        stop.wait()

    def stopped():
        calls.append('stopped')
        stop.set()

    def lead():
        config = electionconfig.Config(
            LeaseLock('lock', 'default', 'me'), lease_duration=4, renew_deadline=3, retry_period=1,
            onstarted_leading=work, onstopped_leading=stopped,
        )
        try:
            leaderelection.LeaderElection(config).run()
            ended.append('returned')
        except Exception as error:
            ended.append(f'raised {type(error).__name__}')

    leader = threading.Thread(target=lead)
    leader.start()
    server.renewed.wait()
    fail(server)
    leader.join()
    print(f'{what}: called {", ".join(calls)}; run() {ended[0]}; the work {"ended" if stop.is_set() else "goes on"}')
    stop.set()


def unavailable(server):
    server.fails = True


def unreachable(server):
    server.shutdown()
    server.server_close()


ask('503', unavailable)
ask('no server', unreachable)
E
timeout 120 venv/bin/python ask.py | tee seen

cat > expected <<'E'
503: called started, stopped; run() returned; the work ended
no server: called started; run() raised MaxRetryError; the work goes on
E
diff -u expected seen
