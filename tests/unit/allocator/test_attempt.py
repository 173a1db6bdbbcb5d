"""The outcome of a decision under way."""

from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.counts import AssignmentType


def test_a_new_trial_has_handed_out_nothing():
    trial = AdmissionAttempt(2)
    assert [(share.cpus, share.memory) for share in trial.shares] == [(None, None), (None, None)]
    assert (
        list(trial.assigned())
        == [
            ("cpu", AssignmentType.NODE_SHARED, 1),
            ("memory", AssignmentType.NODE_SHARED, 0),
        ]
        * 2
    )
    assert (trial.bubble_cpus, trial.bubble_memory, trial.serving) == (None, (), None)
