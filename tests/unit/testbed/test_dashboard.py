"""The dashboard is drawn from what a Prometheus answers, and says so where it answers nothing."""

import json
import re

from testbed import dashboard


class Answers(dashboard.Source):
    """A Prometheus with the same answer to everything."""

    def __init__(self, *values: str) -> None:
        super().__init__("http://nowhere", 100, at=100)
        self._values = values

    def _ask(self, what, params):
        assert params["query"]
        if not self._values:
            return []
        labels = {"node": "node-1", "reason": "TopologyAffinityError"}
        if what == "query":
            return [{"metric": labels, "value": [100, self._values[-1]]}]
        course = [[place, value] for place, value in enumerate(self._values)]
        return [{"metric": labels, "values": course}]


def drawn(*values: str) -> str:
    return dashboard.page(Answers(*values), json.loads(dashboard.DASHBOARD.read_text()))


def test_every_panel_is_drawn_with_its_question():
    page = drawn("1", "2", "0")
    titles = [panel["title"] for panel in json.loads(dashboard.DASHBOARD.read_text())["panels"]]
    assert [title for title in titles if f"<h2>{title}</h2>" not in page] == []
    assert page.count("<section") == len(titles)


def test_a_series_is_a_line_and_its_legend_has_its_labels():
    page = drawn("1", "NaN", "2")
    assert "TopologyAffinityError" in page
    assert all(len(points.split()) == 2 for points in re.findall(r'points="([^"]*)"', page))


def test_no_answer_is_said():
    page = drawn()
    assert page.count("no data") == page.count("<section")


def test_stats_take_the_colour_of_their_threshold():
    assert '<b style="color:green">0</b>' in drawn("0")
    assert '<b style="color:red">3</b>' in drawn("3")


def test_amounts_are_written_for_people():
    assert dashboard.shown(0.0042, "s") == "4.2 ms"
    assert dashboard.shown(3.5, "s") == "3.5 s"
    assert dashboard.shown(64 * 2**20, "bytes") == "64 MiB"
    assert dashboard.shown(12345.6, "short") == "1.235e+04"
