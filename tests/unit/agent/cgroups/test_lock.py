import fcntl

import pytest
from podnuma.agent.cgroups.lock import CgroupsTakenError, the_only_one


def test_one_has_the_cgroups_alone_and_the_next_gets_them_afterwards(tmp_path):
    with the_only_one(tmp_path):
        with pytest.raises(CgroupsTakenError, match=f"lock on {tmp_path}"), the_only_one(tmp_path):
            pass
        (tmp_path / "other").mkdir()
        with the_only_one(tmp_path / "other"):
            pass
    with the_only_one(tmp_path):
        pass


def test_an_error_ends_it_too(tmp_path):
    with pytest.raises(ZeroDivisionError), the_only_one(tmp_path):
        raise ZeroDivisionError
    with the_only_one(tmp_path):
        pass


def test_where_no_lock_is_to_be_had_nobody_waits(tmp_path, monkeypatch):
    """As without such a folder, and where a security module denies it."""
    with the_only_one(tmp_path / "none"), the_only_one(tmp_path / "none"):
        pass

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fcntl, "flock", denied)
    with the_only_one(tmp_path), the_only_one(tmp_path):
        pass
