import os
import subprocess

import pytest
from podnuma.agent.reconcile.processes import Processes, allowed_cpus
from podnuma.allocator import cpuset


@pytest.mark.parametrize(
    ("allowed", "stray", "narrowed"),
    [
        ("0-15", "CPU affinity of process 77 is 0-15, wanted 1,9", None),
        ("1,9", None, None),
        ("9", None, "process 77 may run on 9 only, of 1,9"),
    ],
)
def test_a_process_may_bind_itself_to_less_but_not_to_more(allowed, stray, narrowed):
    own, processes = cpuset.parse("1,9"), Processes({77: cpuset.parse(allowed)}.get)
    assert (processes.stray(77, own), processes.narrowed(77, own)) == (stray, narrowed)
    assert (processes.stray(78, own), processes.narrowed(78, own)) == (None, None)


def test_the_kernel_says_what_a_process_may_run_on_until_it_has_ended():
    own = os.sched_getaffinity(0)
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        os.sched_setaffinity(process.pid, {min(own)})
        assert allowed_cpus(process.pid) == cpuset.of({min(own)})
    assert allowed_cpus(process.pid) is None
