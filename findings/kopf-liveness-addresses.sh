#!/usr/bin/env bash
# Package: PyPI `kopf` 1.45.2.
# Question: at which addresses does an operator answer its probe with `--liveness=http://[::]:8080/healthz`, and
#   with `http://:8080/healthz`?
# One would guess: at all of them, IPv4 and IPv6, with either: that is what `[::]:8080` and `:8080` mean to
#   servers in Go, as most of a cluster's are, and `::` to those in Node.
# Seen: `[::]` answers on IPv6 alone, no host on localhost alone, and 0.0.0.0, which kopf's documentation has,
#   on IPv4 alone. There is no endpoint for both, so one manifest cannot serve clusters with IPv4 and clusters
#   with IPv6; at the wrong address the kubelet is refused and ends the operator again and again.
# Why: asyncio sets IPV6_V6ONLY on each IPv6 socket that it makes from a host, and kopf takes "localhost" for a
#   missing one.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kopf==1.45.2

cat > ask.py <<'E'
import asyncio
import http.server
import logging
import socket
import threading

import kopf

logging.disable(logging.CRITICAL)


class ApiServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.end_headers()
        self.wfile.write(b'{"versions": [], "groups": [], "resources": []}')

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), ApiServer)
server.handle_error = lambda *_: None  # an operator that ends reads no further
threading.Thread(target=server.serve_forever, daemon=True).start()


@kopf.on.login()
def login(**_):
    return kopf.ConnectionInfo(server=f'http://127.0.0.1:{server.server_port}')


async def answers(address, port):
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return False
    writer.write(b'GET /healthz HTTP/1.0\r\n\r\n')
    status = await reader.readline()
    writer.close()
    return b' 200 ' in status


async def ask(host):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    stop = asyncio.Event()
    operator = asyncio.create_task(kopf.operator(
        clusterwide=True, standalone=True, settings=settings, stop_flag=stop,
        liveness_endpoint=f'http://{host}:{port}/healthz',
    ))
    # 127.0.0.2 is another address of this machine, as that of a pod is.
    addresses = ['127.0.0.1', '127.0.0.2', '::1']
    found = []
    while not found:
        await asyncio.sleep(0.1)
        found = [address for address in addresses if await answers(address, port)]
    stop.set()
    await operator
    # Whether localhost has an IPv6 address as well is for /etc/hosts to say.
    print(f'http://{host}:8080', [address for address in found if host or address != '::1'])


async def main():
    for host in ('0.0.0.0', '[::]', ''):
        await ask(host)


asyncio.run(main())
E
timeout 120 venv/bin/python ask.py | tee seen

cat > expected <<'E'
http://0.0.0.0:8080 ['127.0.0.1', '127.0.0.2']
http://[::]:8080 ['::1']
http://:8080 ['127.0.0.1']
E
diff -u expected seen
