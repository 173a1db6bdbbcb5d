"""What waits says what for and since when, at a bounded rate."""

from __future__ import annotations

import io

from testbed import making


def test_a_wait_is_told_again_every_half_minute_with_its_time(monkeypatch):
    now = 0.0
    monkeypatch.setattr("testbed.making.time.monotonic", lambda: now)
    out = io.StringIO()
    progress = making.Progress("waiting for helm", out)
    for second in range(100):
        now = float(second)
        progress.show()
    assert out.getvalue().splitlines() == [
        f"waiting for helm  {at}" for at in ("0:00", "0:30", "1:00", "1:30")
    ]
