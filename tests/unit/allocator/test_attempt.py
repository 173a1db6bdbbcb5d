"""The outcome of a decision under way."""

from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.counts import AssignmentType


def test_a_new_trial_has_handed_out_nothing():
    attempt = AdmissionAttempt(2)
    assert [(assignment.cpus, assignment.memory) for assignment in attempt.assignments] == [
        (None, None),
        (None, None),
    ]
    assert (
        list(attempt.assigned())
        == [
            ("cpu", AssignmentType.NODE_SHARED, 1),
            ("memory", AssignmentType.NODE_SHARED, 0),
        ]
        * 2
    )
    assert (attempt.bubble_cpus, attempt.bubble_memory, attempt.serving) == (None, (), None)
