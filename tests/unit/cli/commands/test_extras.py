"""An installation of the command alone says what is missing for the rest."""

import importlib

import pytest
from podnuma.cli.commands.extras import needs_extra
from podnuma.cli.exits import Exit, Failure


def test_a_library_of_an_extra_that_is_not_there_is_named_with_the_extra():
    with pytest.raises(Failure) as caught, needs_extra("agent"):
        importlib.import_module("no_such_library")
    assert caught.value.code is Exit.USAGE
    assert str(caught.value) == (
        "podnuma agent needs no_such_library, which is not installed with the command alone; "
        "install podnuma[agent], or use podnuma's image"
    )


def test_a_fault_of_podnuma_stays_one():
    with pytest.raises(ModuleNotFoundError), needs_extra("agent"):
        importlib.import_module("podnuma.no_such_module")
    with pytest.raises(ValueError, match="x"), needs_extra("agent"):
        raise ValueError("x")
