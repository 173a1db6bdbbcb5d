"""An HTTPS server that answers with empty objects, and clients that verify as those of Python 3.13."""

import contextlib
import http.server
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


class _Empty(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def https_server(certificate: Path, key: Path) -> Iterator[str]:
    """Serve on 127.0.0.1; yields the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        serving.load_cert_chain(certificate, key)
        server.socket = serving.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def verify_as_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the default contexts of Python and urllib3 require what they do from Python 3.13 on.

    That is the extensions which the authorities of older clusters leave out, and those of the test bed.
    """
    newer = SimpleNamespace(**{**vars(sys), "version_info": (3, 13)})
    monkeypatch.setattr("urllib3.util.ssl_.sys", newer)
    lenient = ssl.create_default_context

    def strict(*arguments: Any, **more: Any) -> ssl.SSLContext:
        context = lenient(*arguments, **more)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr("ssl.create_default_context", strict)
