"""podnuma says what the kubelet said to drawn scenarios when they were recorded. Needs no Go."""

import pytest
from podnuma.cli.commands import replay

from tests.conformance import examine, record


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", record.recorded_files("generated"), ids=lambda path: path.name.split(".")[0])
def test_answers_are_the_kubelets(path):
    assert examine.findings_of(record.read(path), replay.play) == []
