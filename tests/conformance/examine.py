"""Play scenarios through both sides and say where they part, and whether a deviation explains it.

A scenario is followed step by step. At the first difference

* the *twins* of `deviations` are tried, of a scenario that starts from a tree the *ways* of the kubelet's
  eyes, too: one that moves the first difference further on (or away)
  explains the step, stays in place, and the comparison goes on behind it;
* else a *mark* may explain the step. Both sides then go on from different nodes, so the step is
  taken out of the scenario, with its pod if it added one, and the rest is played anew;
* else the difference is unexplained, and the scenario ends there.

The kubelet code is asked in chunks, under a time limit: a request that never ends is a finding
too (`NEVER_ENDS`), not a run that hangs.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.conformance import cadvisor, compare, deviations, kubelet, literal, minimise
from tests.conformance.agreement import Agreement
from tests.conformance.compare import Difference
from tests.conformance.deviations import Moment, Twin

Scenario = dict[str, Any]
Result = dict[str, Any]
Play = Callable[[Scenario], Result]

NEVER_ENDS: Result = {"neverEnds": True}

# One scenario takes 10 ms of processor time on average, seconds at most.
_CHUNK, _CHUNK_SECONDS, _SCENARIO_SECONDS = 250, 300, 60


def for_release(scenario: Scenario, release: kubelet.Release) -> Scenario:
    """Return the scenario as one that asks for the CPUs of this release."""
    version = {"kubeletVersion": release.value}
    steps = [
        {**step, "kubelet": {**step["kubelet"], **version}} if step.get("kubelet") else step
        for step in scenario["steps"]
    ]
    return {**scenario, "kubelet": {**scenario["kubelet"], **version}, "steps": steps}


def release_of(scenarios: Iterable[Scenario]) -> kubelet.Release:
    """Return the release that scenarios are for: the reference if they name none. They must agree."""
    named = {scenario["kubelet"].get("kubeletVersion", kubelet.REFERENCE.value) for scenario in scenarios}
    (version,) = named or {kubelet.REFERENCE.value}
    return kubelet.Release(version)


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference that nothing explains."""

    scenario: Scenario
    difference: Difference

    def __str__(self) -> str:
        return f"{self.scenario['name']}: {self.difference}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one scenario compares.

    `twins` explain differences on the way; `mark` names the deviation that ends the comparison,
    `finding` the difference that nothing explains; both None when the rest is equal.
    """

    twins: tuple[str, ...] = ()
    mark: str | None = None
    finding: Finding | None = None
    step: int = 0


@dataclass(slots=True)
class Examination:
    """What came out: the counts, and every unexplained difference."""

    agreement: Agreement = field(default_factory=Agreement)
    findings: list[Finding] = field(default_factory=list)


def judge(scenario: Scenario, theirs: Result, play: Play) -> Verdict:
    """Compare the kubelet's answer with podnuma's."""
    active: list[Twin] = []
    while True:
        ours = _with_twins(active, play, scenario)
        difference = compare.first_difference(theirs, ours)
        twins = tuple(twin.name for twin in active)
        if difference is None:
            return Verdict(twins, step=len(ours.get("steps") or ()))
        found = _explaining(scenario, theirs, play, active, difference.step)
        if found is not None:
            active += found
            continue
        mark = deviations.marked(_moment(scenario, theirs, ours, difference.step))
        finding = None if mark else Finding(scenario, difference)
        return Verdict(twins, mark, finding, difference.step)


def _with_twins(active: Sequence[Twin], play: Play, scenario: Scenario) -> Result:
    ways = scenario.get("cadvisor", {})
    machine = cadvisor.seen(scenario["topology"], [ways[twin.name] for twin in active if twin.name in ways])
    with literal.in_place(replacement for twin in active for replacement in twin.replacements):
        return play({**scenario, "topology": machine})


def _explaining(
    scenario: Scenario, theirs: Result, play: Play, active: Sequence[Twin], step: int
) -> tuple[Twin, ...] | None:
    for more in deviations.twins_for(scenario, active):
        ours = _with_twins([*active, *more], play, scenario)
        difference = compare.first_difference(theirs, ours)
        if difference is None or difference.step > step:
            return more
    return None


def _moment(scenario: Scenario, theirs: Result, ours: Result, step: int) -> Moment:
    def at(result: Result, index: int) -> Result | None:
        steps = result.get("steps") or ()
        if index < 0:
            return {**result, "state": result.get("initial")}
        return steps[index] if index < len(steps) else None

    return Moment(
        scenario=scenario,
        step=scenario["steps"][step] if 0 <= step < len(scenario["steps"]) else {"op": "start"},
        before=at(theirs, step - 1),
        kubelet=at(theirs, step) or theirs,
        podnuma=at(ours, step) or ours,
        podnuma_before=at(ours, step - 1),
    )


def examine(scenarios: Sequence[Scenario], play: Play) -> Examination:
    """Compare the reference kubelet with `play` on every scenario."""
    out = Examination()
    out.agreement.scenarios = len(scenarios)
    waiting, first = list(scenarios), True
    while waiting:
        again: list[Scenario] = []
        for scenario, theirs in zip(waiting, answers(waiting), strict=True):
            verdict = judge(scenario, theirs, play)
            out.agreement.count(scenario, verdict.step, (*verdict.twins, *filter(None, [verdict.mark])))
            if verdict.finding is not None:
                out.agreement.unexplained(scenario)
                out.findings.append(verdict.finding)
            elif verdict.mark is not None and verdict.step >= 0:
                again.append(minimise.without_step(scenario, verdict.step))
            elif first and not verdict.twins:
                out.agreement.whole += 1
        waiting, first = again, False
    return out


def findings_of(pairs: Iterable[tuple[Scenario, Result]], play: Play) -> list[str]:
    """Return every unexplained difference from recorded answers."""
    verdicts = (judge(scenario, answer, play) for scenario, answer in pairs)
    return [str(verdict.finding) for verdict in verdicts if verdict.finding is not None]


def counter_example(finding: Finding, play: Play) -> Scenario:
    """Return the smallest scenario with an unexplained difference in the same kind of step."""
    kind = _kind(finding)

    def shows(candidate: Scenario) -> bool:
        (theirs,) = answers([candidate])
        verdict = judge(candidate, theirs, play)
        return verdict.finding is not None and _kind(verdict.finding) == kind

    return minimise.smallest(finding.scenario, shows)


def _kind(finding: Finding) -> tuple[str, str]:
    steps, step = finding.scenario["steps"], finding.difference.step
    return steps[step]["op"] if 0 <= step < len(steps) else "", finding.difference.path.split(".")[0]


def answers(scenarios: Sequence[Scenario], release: kubelet.Release | None = None) -> Iterator[Result]:
    """Yield the kubelet's results in order; NEVER_ENDS where its code does not come back.

    Without a release the one that the scenarios name is asked, the same for all.
    """
    release = release or release_of(scenarios)
    for start in range(0, len(scenarios), _CHUNK):
        lines = [json.dumps(scenario) for scenario in scenarios[start : start + _CHUNK]]
        try:
            yield from map(json.loads, kubelet.replay(lines, release, limit=_CHUNK_SECONDS))
        except TimeoutError:
            yield from (_answer(line, release) for line in lines)


def _answer(line: str, release: kubelet.Release) -> Result:
    try:
        (answer,) = kubelet.replay([line], release, limit=_SCENARIO_SECONDS)
    except TimeoutError:
        return NEVER_ENDS
    result: Result = json.loads(answer)
    return result
