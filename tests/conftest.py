"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# Two test processes and two control planes share a machine: how long an example takes says nothing there.
settings.register_profile("podnuma", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("podnuma")
