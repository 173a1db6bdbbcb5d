"""Stopping kept demos ends only what is one."""

from __future__ import annotations

import os

from testbed import build
from testbed.demo import background


def test_stop_without_kept_demos_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PODNUMA_CACHE", str(tmp_path))
    assert background.stop() == 0


def test_a_record_whose_process_number_is_somebody_elses_now_is_only_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("PODNUMA_CACHE", str(tmp_path))
    record = build.cache_folder() / "demos" / str(os.getpid())
    record.parent.mkdir(parents=True)
    record.touch()
    assert background.stop() == 0
    assert not record.exists()
