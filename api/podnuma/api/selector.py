"""Label selectors: which objects a profile speaks of.

An absent or empty selector selects everything. Requirements are joined by "and". A missing label
satisfies ``NotIn`` and ``DoesNotExist`` and nothing else, as in the API server.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podnuma.api.decoding import ABSENT, Fields, choice, cut, text

MAX_REQUIREMENTS: Final = 32
MAX_VALUES: Final = 64
MAX_LABELS: Final = 4096
"""Labels of one object; far more than the size limits of annotations and objects let through in practice."""

_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY: Final = re.compile(rf"(?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}", re.ASCII)
_VALUE: Final = re.compile(rf"(?:{_NAME})?", re.ASCII)


class Operator(enum.Enum):
    """How a label is compared with the values of a requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement; ``values`` only with ``IN`` and ``NOT_IN``."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case Operator.IN:
                return self.key in labels and labels[self.key] in self.values
            case Operator.NOT_IN:
                return self.key not in labels or labels[self.key] not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """What must hold for the labels of an object."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    @property
    def selects_everything(self) -> bool:
        return not self.match_labels and not self.match_expressions

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.matches(labels) for requirement in self.match_expressions
        )


EVERYTHING: Final = LabelSelector()


def read_selector(parent: Fields, name: str) -> LabelSelector:
    """Read the selector in a field of ``parent``; an absent one selects everything."""
    fields = parent.fields(name)
    labels = fields.mapping("matchLabels", _read_value, MAX_REQUIREMENTS)
    for key in labels:
        _check_key(fields, f"matchLabels[{cut(key)}]", key)
    return LabelSelector(
        labels,
        tuple(_read_requirement(item) for item in fields.items("matchExpressions", MAX_REQUIREMENTS)),
    )


def render_selector(selector: LabelSelector) -> dict[str, Any]:
    """Render the JSON of a selector."""
    body: dict[str, Any] = {}
    if selector.match_labels:
        body["matchLabels"] = dict(selector.match_labels)
    if selector.match_expressions:
        body["matchExpressions"] = [
            {"key": requirement.key, "operator": requirement.operator.value}
            | ({"values": list(requirement.values)} if requirement.values else {})
            for requirement in selector.match_expressions
        ]
    return body


def is_label_key(text: str) -> bool:
    """Whether the API server takes this as the key of a label, and in lower case of an annotation."""
    return _KEY.fullmatch(text) is not None


def is_label_value(text: str) -> bool:
    """Whether the API server takes this as the value of a label."""
    return _VALUE.fullmatch(text) is not None


def read_labels(metadata: Fields) -> dict[str, str]:
    """Read the labels of an object that the API server has accepted."""
    return metadata.mapping("labels", text(63), MAX_LABELS)


def _read_requirement(fields: Fields) -> Requirement:
    key = fields.required("key", text(317, shortest=1), "")
    if key:
        _check_key(fields, "key", key)
    operator = fields.required("operator", choice(Operator), Operator.EXISTS)
    values = fields.values("values", _read_value, MAX_VALUES)
    needs_values = operator in (Operator.IN, Operator.NOT_IN)
    if needs_values and not values:
        fields.errors.add(fields.at("values"), ABSENT, f"{operator.value} needs values; add at least one")
    if values and not needs_values:
        fields.errors.add(fields.at("values"), list(values), f"{operator.value} takes no values; remove them")
    return Requirement(key, operator, values)


def _read_value(value: Any) -> str:
    read: str = text(63)(value)
    if not _VALUE.fullmatch(read):
        raise ValueError(
            "is not a label value; use letters, digits, '-', '_' and '.', a letter or digit at both ends"
        )
    return read


def _check_key(fields: Fields, name: str, key: str) -> None:
    if not _KEY.fullmatch(key):
        fields.errors.add(
            fields.at(name), key, "is not a label key; write for example example.com/pool or pool"
        )
