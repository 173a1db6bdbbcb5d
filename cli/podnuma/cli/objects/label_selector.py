"""Label selectors as kubectl's -l takes them: "a=b,c!=d,e in (f,g),h notin (i),j,!k".

Comparisons of numbers ("a>5"), which kubectl takes as well, no LabelSelector of an object has.
"""

import re

from podnuma.api.selector import LabelSelector, Operator, Requirement, is_label_key, is_label_value
from podnuma.cli.exits import Exit, Failure

_PART = re.compile(
    r"\s*(?:(?P<set>[^\s=!,()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)"
    r"|(?P<key>[^\s=!,()]+)\s*(?P<eq>==|=|!=)\s*(?P<value>[^\s=!,()]*)"
    r"|(?P<no>!?)\s*(?P<exists>[^\s=!,()]+))\s*(?:,|$)"
)


def parse_selector(written: str) -> LabelSelector:
    """Read a selector. Equalities become matchLabels, as people write them.

    Failure(USAGE) if it is none, or one that no label could ever match.
    """
    labels: dict[str, str] = {}
    found: list[Requirement] = []
    place = 0
    while place < len(written):
        part = _PART.match(written, place)
        if part is None or not _could_match(part):
            raise Failure(
                Exit.USAGE, f"-l {written!r} is not a label selector; write for example pool=db,disk!=hdd"
            )
        # A key that is to equal two values is a requirement, too: it selects nothing.
        if part["eq"] in ("=", "==") and part["key"] not in labels:
            labels[part["key"]] = part["value"]
        else:
            found.append(_requirement(part))
        place = part.end()
    return LabelSelector(labels, tuple(found))


def _could_match(part: re.Match[str]) -> bool:
    """Whether there may be a label with the key and one of the values of a part."""
    values = part["values"].split(",") if part["set"] else [part["value"] or ""]
    key = part["set"] or part["key"] or part["exists"]
    return is_label_key(key) and all(is_label_value(value.strip()) for value in values)


def _requirement(part: re.Match[str]) -> Requirement:
    if part["set"]:
        values = tuple(value.strip() for value in part["values"].split(","))
        return Requirement(part["set"], Operator.IN if part["op"] == "in" else Operator.NOT_IN, values)
    if part["key"]:
        operator = Operator.NOT_IN if part["eq"] == "!=" else Operator.IN
        return Requirement(part["key"], operator, (part["value"],))
    return Requirement(part["exists"], Operator.DOES_NOT_EXIST if part["no"] else Operator.EXISTS)
