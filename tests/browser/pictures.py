"""Pictures of the web page from a real run, for README and docs: `make docs-pictures`.

A control plane with the two recorded machines of the demo, operator and agents at work, the example pods, and
the page over it in Chromium. Written: docs/images/ui-*.png, and map.svg by `podnuma map --svg`.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from testbed import build
from testbed.control_plane import ControlPlane
from testbed.installation import Installation
from testbed.kwok import Kwok
from tests.browser.site import Browser

ROOT = Path(__file__).resolve().parents[2]
MACHINES = {
    "node-1": ("epyc7401-2s-8numa-16l3", "databases"),
    "node-2": ("xeon-2s-snc2-irregular", "training"),
}
PODS = (
    ("database", "orders"),
    ("database", "payments"),
    ("database", "sessions"),
    ("ml-training", "ranking"),
)
# File: the address, a text that is there when it is drawn, and width and height.
PICTURES = {
    "ui-nodes": ("", "4 pods", 1280, 420),
    "ui-node": ("nodes/node-1", "orders", 1280, 980),
    "ui-pod": ("pods/shop/orders", "What the kernel has", 1280, 980),
    "ui-what-if": ("what-if", "Manifest", 1280, 980),
}
PODNUMA = (sys.executable, "-c", "from podnuma.cli.main import run; run()")
IN_THE_DARK = ("ui-node",)


def main() -> None:
    """Write the pictures."""
    build.ensure([*build.CONTROL_PLANE, "kwok"], sys.stderr)
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(ControlPlane())
        kwok = stack.enter_context(Kwok(cluster))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site = stack.enter_context(Installation(cluster, folder))
        site.install()
        cluster.apply_files(ROOT / "examples" / "profiles")
        for name, (machine, pool) in MACHINES.items():
            site.add_node(kwok, name, machine, {"node-pool": pool})
        for program in (site.start_operator(), *map(site.start_agent, MACHINES)):
            program.wait_ready()
        cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        for example, name in PODS:
            site.create_example("shop", example, name)
            site.wait_applied("shop", name)
        draw(stack, cluster)


def draw(stack: contextlib.ExitStack, cluster: ControlPlane) -> None:
    """Open every page and write what it looks like."""
    command = [*PODNUMA, "ui", "--no-browser"]
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    process = stack.enter_context(
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    picture = ROOT / "docs" / "images" / "map.svg"
    subprocess.run([*PODNUMA, "map", "node-1", "--svg", picture], env=environment, check=True)
    browser = Browser()
    stack.callback(browser.close)
    for dark in (False, True):
        browser.scheme(dark=dark)
        for name, (page, text, width, height) in PICTURES.items():
            if dark and name not in IN_THE_DARK:
                continue
            browser.size(width, height)
            browser.open(f"{url}#/{page}")
            browser.see(text, seconds=20)
            browser.see("live", within="header")
            if page == "what-if":
                manifest = (ROOT / "examples" / "pods" / "too-large.yaml").read_text()
                browser.script("document.querySelector('textarea').value = arguments[0]", manifest)
                browser.script("document.querySelector('form button').click()")
                browser.see("refused", seconds=20)
            file = ROOT / "docs" / "images" / f"{name}{'-dark' if dark else ''}.png"
            browser.driver.save_screenshot(str(file))


if __name__ == "__main__":
    main()
