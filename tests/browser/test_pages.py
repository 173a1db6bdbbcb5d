"""Every page in a real browser: what can be read, what changes, what is reached with the keyboard."""

import json
import time
from urllib.parse import quote

import pytest
import yaml
from selenium.webdriver.common.keys import Keys

from tests.browser.site import Site, guaranteed, node, objects, pod, rendering, training
from tests.unit.cli.builders import allocation_object

WIDTHS = (1280, 380)
PAGES = {
    "": "2 nodes, 2 pods, 1 refused",
    "nodes/node-1": "NUMA 7",
    "pods/shop/database": "Slices of the budget",
    "pods/shop/too-large": "No NUMA node has 20 CPUs free.",
    "refusals": "TopologyAffinityError",
    "what-if": "Where would it go?",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_a_wide_and_a_narrow_window(browser, site, page):
    for width in WIDTHS:
        browser.size(width)
        browser.open(f"{site.url}#/{page}")
        browser.see(PAGES[page])
        assert browser.script("return document.documentElement.scrollWidth") <= width


def test_a_bar_says_in_words_what_its_colours_say(browser, site):
    browser.open(site.url)
    browser.see("node-1")
    bar = browser.all("[data-node=node-1] .zone")[0]
    assert bar.get_attribute("aria-label") == (
        "NUMA node 0, 12 CPUs: 2 reserved, 6 exclusive, 2 pod shared pools, 2 shared"
    )


def test_nodes_are_found_by_name_profile_and_namespace(browser, site):
    browser.open(site.url)
    browser.see("node-2")
    field = browser.all("#find")[0]
    field.send_keys("database")
    browser.see("1 node, 2 pods")
    field.clear()
    field.send_keys("nothing-like-it")
    browser.see("No node matches the filter.")


def test_a_change_is_seen_within_a_second_without_a_reload(browser, site):
    browser.open(site.url)
    browser.see("2 nodes, 2 pods")
    browser.script("window.mark = 1")
    began = time.monotonic()
    site.keep(node("node-3"))
    browser.see("3 nodes", seconds=1)
    site.keep(allocation_object(training("later", "12-17"), "node-3"))
    browser.see("3 nodes, 3 pods", seconds=1)
    assert time.monotonic() - began < 2
    browser.script("location.hash = '#/nodes/node-3'")
    browser.see("later")
    site.keep(allocation_object(training("latest", "18-20"), "node-3"))
    browser.see("latest", seconds=1)
    assert browser.script("return window.mark") == 1


def test_a_pod_lights_up_all_that_it_holds(browser, site):
    browser.open(f"{site.url}#/nodes/node-1")
    browser.see("database")
    browser.script("document.querySelector('.podrow[data-pod=\"shop/database\"]').focus()")
    lit = [one.get_attribute("data-cpu") for one in browser.all(".tile.on")]
    assert sorted(map(int, lit)) == [1, 2, 3, 4, 49, 50, 51, 52]
    assert len(browser.all(".part.on")) == 1


def test_a_tile_is_reached_with_the_keyboard_and_leads_to_the_decision(browser, site):
    browser.open(f"{site.url}#/nodes/node-1")
    browser.see("database")
    tile = browser.all("button[data-cpu='4']")[0]
    assert "shared by backup, metrics of shop/database" in tile.get_attribute("aria-label")
    tile.send_keys(Keys.ENTER)
    browser.see("Slices of the budget")


def test_a_manifest_is_told_where_it_would_go(browser, site):
    browser.open(f"{site.url}#/what-if")
    browser.see("Manifest")
    field = browser.all("textarea")[0]
    for cpus, expected in (("4", "✓ admitted"), ("64", "✕ refused")):
        manifest = yaml.safe_dump(pod("shop", "new", [guaranteed("app", cpus, "1Gi")], ""))
        browser.script("arguments[0].value = arguments[1]", field, manifest)
        field.send_keys(Keys.CONTROL, Keys.ENTER)
        browser.see(expected)
    browser.script("arguments[0].value = 'kind: ['", field)
    field.send_keys(Keys.CONTROL, Keys.ENTER)
    browser.see("manifest document 1")


def test_devices_stand_at_their_numa_nodes_and_light_up_with_their_pod(browser, site):
    site.keep(allocation_object(rendering(), "node-1"))
    browser.open(f"{site.url}#/nodes/node-1")
    browser.see("gpu-0", within="[aria-label='NUMA node 2']")
    browser.see("mlx-1", within="[aria-label='NUMA node 5']")
    device = browser.all("button.device")[0]
    assert device.accessible_name == "Device gpu.example gpu-0: render of ml/render"
    browser.script("arguments[0].focus()", device)
    lit = {one.get_attribute("data-cpu") for one in browser.all(".tile.on")}
    assert lit == {"12", "13", "14", "60", "61", "62"}
    assert len(browser.all(".device.on")) == 2
    device.send_keys(Keys.ENTER)
    browser.see("Slices of the budget")
    rows = {one.text.split()[0]: one.text for one in browser.all("[aria-label='Devices'] tbody tr")}
    assert rows["gpu-0"].endswith("on the same NUMA node")
    assert rows["mlx-1"].endswith("on another NUMA node")
    browser.size(380)
    assert browser.script("return document.documentElement.scrollWidth") <= 380


ATTACK = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>\"><b>"


def with_markup():
    """Objects as a careless or hostile API server would hand them out: names, reasons, messages, devices."""
    refused, held = objects()[4], allocation_object(rendering(), "node-1")
    refused["spec"]["decision"] |= {"explanation": ATTACK, "message": ATTACK, "reason": ATTACK}
    for allocation in (refused, held):
        allocation["status"]["phase"] += ATTACK
        allocation["metadata"]["name"] += ATTACK
        for one in allocation["spec"].get("containers", []):
            one["name"] += ATTACK
            for device in one.get("devices", []):
                device |= {"name": ATTACK, "resource": ATTACK}
    host = node("node-1")
    host["status"]["conditions"][0] |= {"status": "False", "message": ATTACK, "reason": ATTACK}
    host["spec"]["profile"] = {"name": ATTACK, "generation": 1}
    return [host, refused, held, node(f"node-{ATTACK}")]


POD = f"render{ATTACK}"


@pytest.mark.parametrize(
    "page",
    [
        "",
        "nodes/node-1",
        "refusals",
        f"pods/ml/{quote(POD, safe='')}",
        f"nodes/{quote('node-' + ATTACK, safe='')}",
    ],
    ids=["nodes", "node", "refusals", "pod", "name"],
)
def test_markup_from_the_cluster_is_text(browser, tmp_path, page):
    with Site(tmp_path, with_markup()) as site:
        browser.open(f"{site.url}#/{page}")
        browser.see("<script>")
        assert browser.script("return window.hit ?? null") is None
        assert browser.all("main script, main b, main img") == []
        assert (
            browser.script(
                "return [...document.querySelectorAll('main *')].some("
                "one => [...one.attributes].some(a => a.name.startsWith('on')))"
            )
            is False
        )
        browser.leave()


def test_markup_in_a_manifest_and_in_what_is_said_of_it_is_text(browser, site):
    browser.open(f"{site.url}#/what-if")
    browser.see("Manifest")
    manifest = yaml.safe_dump(pod("shop", f"new{ATTACK}", [guaranteed(f"app{ATTACK}", "4", "1Gi")], ""))
    for text in (
        manifest,
        f"apiVersion: v1\nkind: Pod\nspec: {{{json.dumps(ATTACK)}: 1}}",
        f"kind: {json.dumps(ATTACK)}",
    ):
        browser.script("document.querySelector('textarea').value = arguments[0]", text)
        browser.script("document.querySelector('form button').click()")
        browser.see("<b>", seconds=10)
        assert browser.script("return window.hit ?? null") is None
        assert browser.all("main script, main b, main img") == []


def test_every_control_has_a_name(browser, site):
    for page, text in PAGES.items():
        browser.open(f"{site.url}#/{page}")
        browser.see(text)
        names = [one.accessible_name for one in browser.all("a, button, input, select, textarea, [role=img]")]
        assert all(names), page


def test_an_inline_script_does_not_run(browser, site):
    browser.open(site.url)
    browser.see("node-1")
    browser.script(
        "const one = document.createElement('script'); one.textContent = 'window.hit = 1';"
        "document.body.append(one)"
    )
    assert browser.script("return window.hit ?? null") is None
    assert any("Content Security Policy" in line for line in browser.complaints())
