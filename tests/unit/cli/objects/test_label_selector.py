"""Selectors are read as kubectl reads them."""

import pytest
from podnuma.api.selector import render_selector
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.label_selector import parse_selector

LABELS = {"pool": "db", "disk": "ssd", "example.com/rack": "7"}


@pytest.mark.parametrize(
    ("written", "matching"),
    [
        ("pool=db", True),
        ("pool==db", True),
        ("pool = ml", False),
        ("pool!=ml", True),
        ("rack!=1", True),
        ("pool in (db, ml)", True),
        ("pool notin (db)", False),
        ("disk", True),
        ("!disk", False),
        ("!gpu", True),
        ("pool=db,disk in (ssd),example.com/rack=7,!gpu", True),
        ("pool=db,disk=hdd", False),
        ("pool=db,pool=ml", False),
        ("pool=db,pool=db", True),
        ("", True),
    ],
)
def test_every_form_of_a_requirement(written, matching):
    assert parse_selector(written).matches(LABELS) is matching


@pytest.mark.parametrize(
    "written",
    ["=db", "pool in db", "pool=db disk", ",", "a=(b)", "pool:db", "cores>4", "pool=db/1", "pool in (a b)"],
)
def test_what_is_no_selector_is_usage(written):
    with pytest.raises(Failure) as failure:
        parse_selector(written)
    assert failure.value.code is Exit.USAGE


def test_equalities_are_written_as_people_write_them():
    assert render_selector(parse_selector("pool=db,disk==ssd,!gpu")) == {
        "matchLabels": {"pool": "db", "disk": "ssd"},
        "matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}],
    }
