"""Every page in a real browser: what can be read, what changes, what is reached with the keyboard."""

import time

import pytest
import yaml
from selenium.webdriver.common.keys import Keys

from tests.browser.site import Site, guaranteed, node, objects, pod, training
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


@pytest.mark.parametrize("page", ["", "nodes/node-1", "refusals", "pods/shop/too-large"])
def test_markup_from_the_cluster_is_text(browser, tmp_path, page):
    attack = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>\"><b>"
    shown = objects()
    for value in shown:
        if value["kind"] == "PodAllocation":
            value["spec"]["decision"] |= {"explanation": attack, "message": attack, "reason": attack}
            value["status"]["phase"] = value["status"]["phase"] + attack
        if value["kind"] == "NodeTopology":
            value["status"]["conditions"][0] |= {"status": "False", "message": attack, "reason": attack}
    with Site(tmp_path, shown) as site:
        browser.open(f"{site.url}#/{page}")
        browser.see("<script>")
        assert browser.script("return window.hit ?? null") is None
        assert browser.all("main script, main b, main img") == []
        browser.leave()


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
