"""Letters and colours of holders, the same in the terminal and in the SVG picture.

The exclusive CPUs of a pod have a strong colour and its shared pool the light shade of it.
The contrast of text on each colour is at least 4.5 to 1 (WCAG 2.1, 1.4.3).
"""

from dataclasses import dataclass

from podnuma.cli.render.node_map import Hold, Holder, NodeMap

# R is for CPUs reserved for the system, I for isolated ones; O looks like a digit.
LETTERS = "ABCDEFGHJKLMNPQSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Colours:
    """Text and background as #rrggbb; None is the terminal's default."""

    text: str | None
    ground: str | None


_STRONG = ("#1f5fc0", "#a84600", "#1e7a3c", "#7a3fc0", "#0b7073", "#b02e6c", "#6f5520")
_LIGHT = ("#a9c8f5", "#f6c79b", "#a6dcb7", "#d3b9f0", "#a0dcdd", "#f0b2cf", "#ddcfae")
_PLAIN = {
    Hold.CONTESTED: Colours("#ffffff", "#c80000"),
    Hold.RESERVED: Colours("#ffffff", "#5f5f5f"),
    Hold.HIDDEN: Colours("#ffffff", "#767676"),
    Hold.ISOLATED: Colours("#ffffff", "#3f3f3f"),
    Hold.OUTSIDE: Colours("#ffffff", "#3f3f3f"),
    Hold.NODE_SHARED: Colours(None, None),
    Hold.OFFLINE: Colours("#767676", None),
}
_SIGNS = {
    Hold.CONTESTED: "!",
    Hold.RESERVED: "R",
    Hold.HIDDEN: "?",
    Hold.ISOLATED: "I",
    Hold.OUTSIDE: "-",
    Hold.NODE_SHARED: "·",
    Hold.OFFLINE: "x",
}


def sign(node: NodeMap, holder: Holder) -> str:
    """Return the one character that stands for a holder on its node."""
    if holder.hold in _SIGNS:
        return _SIGNS[holder.hold]
    letter = LETTERS[node.pods.index(holder.pod) % len(LETTERS)]
    return letter if holder.hold is Hold.EXCLUSIVE else letter.lower()


def colours(node: NodeMap, holder: Holder) -> Colours:
    """Return the colours of a holder on its node."""
    if holder.hold in _PLAIN:
        return _PLAIN[holder.hold]
    turn = node.pods.index(holder.pod) % len(_STRONG)
    return (
        Colours("#ffffff", _STRONG[turn])
        if holder.hold is Hold.EXCLUSIVE
        else Colours("#000000", _LIGHT[turn])
    )
