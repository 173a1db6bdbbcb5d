"""The table of two builds: which rows are measured, in which order, and what stands beside each other."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import builds, compare, figures, rows
from benchmarks.builds import CannotMeasureError, Driver

QUICK = 0.0005
BY_NAME = {row.name: row for row in rows.ROWS}


class FakeBuild:
    """Gives what it was told to, in turn, and keeps what it was asked."""

    def __init__(self, name, asked, found):
        self.name, self.asked, self.found = name, asked, found

    def __call__(self, command, driver):
        self.asked.append((self.name, command, driver))
        value = self.found[command, driver] if (command, driver) in self.found else self.found[command]
        if isinstance(value, Exception):
            raise value
        return value.pop(0) if isinstance(value, list) else value


def compared(names, base, now, rounds=1):
    """Return the lines, and what was asked of which build."""
    asked: list[tuple[str, str, Driver]] = []
    wanted = rows.chosen(names)
    runners = {"base": FakeBuild("base", asked, base), "now": FakeBuild("now", asked, now)}
    sides = compare.measure(rows.commands(wanted), runners, rounds, lambda _: None)
    return rows.lines(wanted, sides["base"], sides["now"]), asked


def test_rows_have_names_of_their_own_and_commands_that_exist():
    assert len(BY_NAME) == len(rows.ROWS)
    assert {row.command.name for row in rows.ROWS} == set(figures.COMMANDS)


def test_without_names_the_quick_rows_are_measured_with_all_every_one():
    assert all(not row.command.long for row in rows.chosen([]))
    assert rows.chosen(["all"]) == rows.ROWS
    assert [row.name for row in rows.chosen(["order", "pass"])] == ["pass", "order"]


def test_a_row_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(rows.UnknownRowError, match=r"no row is called speed; rows are: all event"):
        rows.chosen(["speed"])
    assert compare.main(["HEAD", "speed"]) == 2


def test_builds_are_measured_in_turn_and_the_first_one_changes():
    _, asked = compared(["pass"], {"agent_paths": {"pass": 1.0}}, {"agent_paths": {"pass": 1.0}}, rounds=3)
    assert [name for name, _, _ in asked] == ["base", "now", "now", "base", "base", "now"]


def test_rows_of_one_command_are_measured_once():
    found = {"agent_paths": {"pass": 2000.0, "order": 4000.0, "hook": 20.0}}
    lines, asked = compared(["pass", "order", "hook"], found, found)
    assert len(asked) == 2
    assert [line.now for line in lines] == [(20.0,), (2.0,), (4.0,)]


def test_a_command_that_takes_long_is_measured_in_fewer_rounds():
    found = {"held": {"seconds": 30.0, "mebibytes": 400.0}}
    _, asked = compared(["held-time"], found, found, rounds=5)
    assert len(asked) == 2 * BY_NAME["held-time"].command.rounds


@pytest.mark.parametrize(
    ("name", "figure", "base", "now", "ratio", "met"),
    [
        ("order", "order", [6000.0, 9000.0, 5000.0], [2000.0, 3000.0, 1000.0], 3.0, True),
        ("order", "order", [6000.0] * 3, [3000.0] * 3, 2.0, False),
        ("admission-128", "128", [10_000.0] * 3, [26_000.0] * 3, 2.6, True),
        ("admission-128", "128", [10_000.0] * 3, [20_000.0] * 3, 2.0, False),
        ("kubelet-128", "128", [10.0] * 3, [24.0] * 3, 2.4, False),
        ("event", "event", [80.0] * 3, [40.0] * 3, 2.0, None),
    ],
)
def test_the_ratio_is_of_the_medians_and_above_one_where_it_is_better(name, figure, base, now, ratio, met):
    command = BY_NAME[name].command.name
    (line,), _ = compared(
        [name],
        {command: [{figure: value} for value in base]},
        {command: [{figure: value} for value in now]},
        rounds=3,
    )
    assert line.ratio == pytest.approx(ratio)
    assert line.met is met


def test_a_base_without_the_thing_says_so_and_now_is_measured_all_the_same():
    lacking = CannotMeasureError("ImportError: cannot import name 'Link'")
    (line,), asked = compared(["pass"], {"agent_paths": lacking}, {"agent_paths": {"pass": 1000.0}}, rounds=2)
    assert line.base == ()
    assert line.now == (1.0, 1.0)
    assert line.ratio is None
    assert "cannot import name 'Link'" in compare.shown(line.base, "ms", line.base_reason)
    assert [each[2] for each in asked if each[0] == "base"] == [Driver.TODAY, Driver.OWN]


def test_a_base_that_todays_benchmarks_do_not_fit_is_measured_by_its_own():
    base = {
        ("agent_paths", Driver.TODAY): CannotMeasureError("TypeError: unexpected keyword argument"),
        ("agent_paths", Driver.OWN): {"pass": 8000.0},
    }
    (line,), asked = compared(["pass"], base, {"agent_paths": {"pass": 4000.0}}, rounds=2)
    assert line.ratio == pytest.approx(2.0)
    assert [each[2] for each in asked if each[0] == "base"] == [Driver.TODAY, Driver.OWN, Driver.OWN]


def test_a_failure_that_is_not_a_lack_is_not_measured_in_another_way():
    failed = CannotMeasureError("TimeoutError: no control plane")
    (line,), asked = compared(["pass"], {"agent_paths": {"pass": 1.0}}, {"agent_paths": failed})
    assert line.now_reason == "TimeoutError: no control plane"
    assert [each[2] for each in asked if each[0] == "now"] == [Driver.TODAY]


def test_json_has_every_round_and_the_reasons():
    (line,), _ = compared(
        ["pass"], {"agent_paths": CannotMeasureError("gone")}, {"agent_paths": {"pass": 1e3}}
    )
    (row,) = json.loads(compare.as_json([line], base="abc"))["rows"]
    assert row["now"] == [1.0]
    assert row["baseNotMeasured"] == "gone"
    assert row["target"] == "≤ 1.5 ms"


def test_the_quick_rows_really_give_figures(tmp_path):
    """In processes of a build that is this tree; those that need Go are left out."""
    root = Path(compare.ROOT)
    build = builds.Build("now", root, {Driver.TODAY: root}, python=Path(sys.executable))
    wanted = [row for row in rows.chosen([]) if row.command.name != "beside_kubelet"]
    for command in rows.commands(wanted):
        found = build.measure(command.name, Driver.TODAY, tmp_path / f"{command.name}.log", quick=QUICK)
        for row in wanted:
            if row.command is command:
                assert found[row.figure] >= 0, row.name


def test_two_builds_are_made_and_nothing_of_them_is_left():
    listed = builds.git(compare.ROOT, "worktree", "list")
    with builds.both(compare.ROOT, "HEAD") as (base, now, folder):
        assert base.tree.joinpath("benchmarks").is_dir()
        assert now.tree.joinpath("benchmarks/compare.py").read_bytes() == Path(compare.__file__).read_bytes()
        assert base.python.is_file()
        assert builds.differing_packages(now.tree, now.tree) == []
    assert not folder.exists()
    assert builds.git(compare.ROOT, "worktree", "list") == listed


def test_a_commit_that_is_not_there_is_an_error_with_its_name(capsys):
    assert compare.main(["no-such-commit", "pass"]) == 2
    assert "no-such-commit" in capsys.readouterr().err


def test_rows_can_be_listed_with_what_they_need(capsys):
    assert compare.main(["HEAD", "all", "--list"]) == 0
    out = capsys.readouterr().out
    assert "needs the virtual machine" in out
    assert all(row.name in out for row in rows.ROWS)


def test_todays_benchmarks_measure_the_podnuma_of_the_build(tmp_path):
    """Of two folders with a module of one name, the driver's is imported, from whichever tree it runs in."""
    driver, tree = tmp_path / "driver", tmp_path / "tree"
    for folder in (driver, tree):
        (folder / "benchmarks").mkdir(parents=True)
        number = 1 if folder is driver else 0
        said = f"'{{\"' + product.WHO + '\": {number}}}'"
        text = f"import sys, pathlib, product\npathlib.Path(sys.argv[2]).write_text({said})\n"
        (folder / "benchmarks/figures.py").write_text(text)
    (tree / "product.py").write_text("WHO = 'tree'\n")
    build = builds.Build("base", tree, {Driver.TODAY: driver}, python=Path(sys.executable))
    assert build.measure("any", Driver.TODAY, tmp_path / "any.log") == {"tree": 1}
