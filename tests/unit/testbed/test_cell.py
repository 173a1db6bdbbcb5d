"""A cell of the matrix is named by its parts; what is left out is the default's."""

from __future__ import annotations

import pytest

from testbed.e2e import matrix
from testbed.vm.cell import CELLS, Cell, Containerd, Driver, Runtime, parse, parse_matrix


def test_the_empty_name_is_the_default():
    assert parse("") == Cell() == CELLS[0]


def test_every_cell_is_read_from_its_own_name():
    assert [parse(str(cell)) for cell in CELLS] == list(CELLS)


def test_parts_come_in_any_order_and_the_rest_is_the_defaults():
    assert parse("1.37-crun") == Cell(runtime=Runtime.CRUN, kubernetes="1.37")
    assert parse("cgroupfs-containerd1") == Cell(driver=Driver.CGROUPFS, containerd=Containerd.DEBIAN)


@pytest.mark.parametrize("name", ["youki", "crun-runc", "1.20"])
def test_a_part_that_is_none_or_comes_twice_is_named(name):
    with pytest.raises(ValueError, match=name.rpartition("-")[2]):
        parse(name)


def test_the_matrix_is_everything_or_what_is_named():
    assert parse_matrix("all") == CELLS
    assert parse_matrix("crun, cgroupfs") == (parse("crun"), parse("cgroupfs"))
    assert parse_matrix("") == ()


def test_the_default_cell_runs_everything_and_the_others_what_depends_on_the_cell():
    assert matrix.chosen(Cell(), ()) == ()
    assert matrix.chosen(parse("crun"), ("-x",)) == ("-m", "each_cell", "-x")


@pytest.mark.parametrize("choice", [("-m", "smoke"), ("-k", "resizes"), ("-kresizes",)])
def test_a_choice_of_scenarios_is_kept(choice):
    assert matrix.chosen(parse("crun"), choice) == choice
