"""What holds for every test: property tests are bounded by their number of examples, not by a clock."""

from hypothesis import settings

settings.register_profile("podnuma", deadline=None)
settings.load_profile("podnuma")
