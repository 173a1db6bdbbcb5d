"""What was last written into a status: a stored status that differs from it was changed by another client."""

from dataclasses import dataclass
from typing import Final

_PUT_BACK: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class LastWrite:
    """What was said, what the API server made of it (in brief), and when, by this process's clock."""

    said: object = None
    stored: str = ""
    at: float = float("-inf")

    def pause(self, said: object, interval: float) -> float:
        """Return the seconds until this may be said: longer if it was said already and others changed it."""
        return max(interval, _PUT_BACK) if said == self.said else interval
