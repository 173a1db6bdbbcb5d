"""`python -m testbed.dashboard URL PAGE`: draw the Grafana dashboard from a Prometheus, without Grafana.

Every panel of deploy/chart/podnuma/files/dashboard.json becomes a piece of one HTML page: a stat as its
number, a time series as lines. Enough to see that each query returns something sensible; the picture
in the documentation was made with it from a real run.
"""

from __future__ import annotations

import argparse
import html
import json
import time
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parents[1]
DASHBOARD = ROOT / "deploy" / "chart" / "podnuma" / "files" / "dashboard.json"
COLOURS = ("#1f5fc0", "#a84600", "#1e7a3c", "#7a3fc0", "#0b7073", "#b02e6c", "#6f5520")
CELL_WIDTH, CELL_HEIGHT = 58, 38
# Grafana's names of units.
SUFFIXES = {"s": " s", "cpm": " a minute", "reqps": " a second"}
_STYLE = (
    "body{font:13px system-ui,sans-serif;background:#f4f5f5;margin:12px;position:relative}"
    "section{position:absolute;background:#fff;border:1px solid #d0d0d0;border-radius:4px;padding:8px;"
    "box-sizing:border-box;overflow:hidden}svg{border:solid #ccc;border-width:0 0 1px 1px}"
    "h1{font-size:16px}h2{font-size:13px;margin:0 0 6px}b{font-size:34px}"
)


class Source:
    """Queries of one Prometheus over the `window` seconds before `at`, a Unix time."""

    def __init__(self, url: str, window: float, at: float) -> None:
        self._url = url
        self._end = at
        self.window = window

    def now(self, query: str) -> list[dict[str, Any]]:
        """Return the current value of every series."""
        return self._ask("query", {"query": query, "time": str(self._end)})

    def course(self, query: str) -> list[dict[str, Any]]:
        """Return every series over the window."""
        start = self._end - self.window
        step = max(self.window / 120, 1)
        return self._ask(
            "query_range", {"query": query, "start": str(start), "end": str(self._end), "step": f"{step:.0f}"}
        )

    def _ask(self, what: str, params: dict[str, str]) -> list[dict[str, Any]]:
        answer = requests.get(f"{self._url}/api/v1/{what}", params=params, timeout=10)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found


def page(source: Source, dashboard: dict[str, Any]) -> str:
    """Return the whole page."""
    panels = "".join(_panel(source, panel) for panel in dashboard["panels"])
    return f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style><h1>{dashboard['title']}</h1>{panels}"


def _panel(source: Source, panel: dict[str, Any]) -> str:
    place, unit = panel["gridPos"], panel["fieldConfig"]["defaults"]["unit"]
    width, height = place["w"] * CELL_WIDTH - 8, place["h"] * CELL_HEIGHT - 8
    left, top = place["x"] * CELL_WIDTH, place["y"] * CELL_HEIGHT + 40
    draw = _stat if panel["type"] == "stat" else _lines
    body = draw(source, panel, unit, (width - 20, height - 84))
    box = f"left:{left}px;top:{top}px;width:{width}px;height:{height}px"
    return f'<section style="{box}"><h2>{html.escape(panel["title"])}</h2>{body}</section>'


def _stat(source: Source, panel: dict[str, Any], unit: str, _size: tuple[int, int]) -> str:
    series = source.now(panel["targets"][0]["expr"])
    if not series:
        return "<b>no data</b>"
    value = float(series[0]["value"][1])
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    colour = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    return f'<b style="color:{colour}">{shown(value, unit)}</b>'


def _lines(source: Source, panel: dict[str, Any], unit: str, size: tuple[int, int]) -> str:
    found = [
        (_legend(target["legendFormat"], series["metric"]), series["values"])
        for target in panel["targets"]
        for series in source.course(target["expr"])
    ]
    points = [point for _, values in found for point in _numbers(values)]
    if not points:
        return "no data yet"
    highest, last = max(value for _, value in points) or 1.0, max(at for at, _ in points)
    width, height = size
    lines, names = [], []
    for number, (name, values) in enumerate(found):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(
            f"{width * (1 - (last - at) / source.window):.1f},{height * (1 - value / highest):.1f}"
            for at, value in _numbers(values)
        )
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        names.append(f'<span style="color:{colour}">&#9632; {html.escape(name)}</span>')
    drawn = f'<svg width="{width}" height="{height}">{"".join(lines)}</svg>'
    return f"<div>{shown(highest, unit)}</div>{drawn}<div>{' '.join(names)}</div>"


def _numbers(values: list[tuple[float, str]]) -> list[tuple[float, float]]:
    """Leave out NaN, which is a quantile of nothing."""
    return [(float(at), float(value)) for at, value in values if value != "NaN"]


def _legend(template: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return template


def shown(value: float, unit: str) -> str:
    """Format a value for people."""
    if unit == "s" and value < 1:
        return f"{value * 1000:.3g} ms"
    if unit == "bytes":
        return f"{value / 2**20:.0f} MiB"
    return f"{value:.4g}{SUFFIXES.get(unit, '')}"


def main() -> None:
    """Draw one page."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("url", help="a Prometheus, as http://127.0.0.1:9090")
    parser.add_argument("page", type=Path, help="the HTML file to write")
    parser.add_argument("--window", type=float, default=180, help="seconds to look back")
    parser.add_argument("--at", type=float, default=time.time(), help="Unix time to look back from; now")
    options = parser.parse_args()
    source = Source(options.url, options.window, options.at)
    options.page.write_text(page(source, json.loads(DASHBOARD.read_text())))


if __name__ == "__main__":
    main()
