"""`podnuma ui` on a real API server: what is there, a change within a second, and the end by Ctrl-C."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

from tests.unit.cli.builders import topology_object

EPYC = "epyc7401-2s-8numa-16l3"


@contextlib.contextmanager
def page(cluster):
    command = [sys.executable, "-c", "from podnuma.cli.main import run; run()", "ui", "--no-browser"]
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, urlsplit(process.stdout.readline().strip())
        finally:
            process.kill()


@contextlib.contextmanager
def answer(url, path):
    with contextlib.closing(http.client.HTTPConnection(url.hostname, url.port, timeout=20)) as connection:
        connection.request("GET", url.path + path)
        with connection.getresponse() as response:
            yield response


def names(url):
    with answer(url, "data/nodes") as found:
        return [row["name"] for row in json.load(found)["nodes"]]


def message(stream):
    while not (line := stream.readline()).startswith(b"data: "):
        assert line
    return json.loads(line.removeprefix(b"data: "))


def create(cluster, name):
    value = topology_object(EPYC, reserved="0,48", name=name)
    cluster.api.create({key: value[key] for key in ("apiVersion", "kind", "metadata", "spec")})


def test_a_new_node_is_told_without_being_asked_for_and_ctrl_c_ends_the_page(clean_cluster):
    create(clean_cluster, "node-1")
    with page(clean_cluster) as (process, url), answer(url, "events") as stream:
        deadline = time.monotonic() + 30
        while names(url) != ["node-1"]:
            assert time.monotonic() < deadline
        # Lists are done; wait until the watch has told of a change as well.
        create(clean_cluster, "node-2")
        while "node-2" not in message(stream)["nodes"]:
            pass
        create(clean_cluster, "node-3")
        while "node-3" not in message(stream)["nodes"]:
            pass
        assert names(url) == ["node-1", "node-2", "node-3"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_no_page_is_served_where_there_is_no_cluster(tmp_path):
    broken = tmp_path / "kubeconfig"
    broken.write_text("apiVersion: v1\nkind: Config\n")
    command = [sys.executable, "-c", "from podnuma.cli.main import run; run()", "ui", "--no-browser"]
    found = subprocess.run(
        [*command, "--kubeconfig", str(broken)], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 4, found.stderr
    assert found.stdout == ""
