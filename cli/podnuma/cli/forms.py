"""The forms of an answer. On its own, so that naming one loads nothing."""

from enum import StrEnum


class Form(StrEnum):
    """How an answer is written."""

    TEXT = "text"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def for_programs(self) -> bool:
        """Whether a program reads this."""
        return self in (Form.JSON, Form.YAML)
