import pytest
from podnuma.operator.settings import LeaseSettings, OperatorSettings


def test_a_standby_takes_over_within_fifteen_seconds_by_default():
    lease = OperatorSettings().lease
    assert lease is not None
    assert lease.duration + lease.retry < 15


def test_a_lease_that_could_not_be_renewed_in_time_is_refused():
    with pytest.raises(ValueError, match="leaves no time to renew"):
        LeaseSettings(duration=3.0, retry=2.0, margin=1.5)
