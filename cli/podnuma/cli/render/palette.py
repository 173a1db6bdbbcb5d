"""Letters and colours of holders: the same in the terminal and in the SVG picture.

A pod's slices have its strong colour, its pool the light one, so that what belongs together
looks alike. Contrast of text on each colour is at least 4.5 to 1 (WCAG 2.1, 1.4.3).
"""

from dataclasses import dataclass

from podnuma.cli.picture import Hold, Holder, Picture

# R is what the system has; I and O are too easily read as digits.
LETTERS = "ABCDEFGHJKLMNPQSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Paint:
    """Text and background as #rrggbb; None is the terminal's own."""

    text: str | None
    ground: str | None


_STRONG = ("#1f5fc0", "#a84600", "#1e7a3c", "#7a3fc0", "#0b7073", "#b02e6c", "#6f5520")
_LIGHT = ("#a9c8f5", "#f6c79b", "#a6dcb7", "#d3b9f0", "#a0dcdd", "#f0b2cf", "#ddcfae")
_PLAIN = {
    Hold.CONTESTED: Paint("#ffffff", "#c80000"),
    Hold.RESERVED: Paint("#ffffff", "#5f5f5f"),
    Hold.NODE_SHARED: Paint(None, None),
    Hold.OFFLINE: Paint("#767676", None),
}
_SIGNS = {Hold.CONTESTED: "!", Hold.RESERVED: "R", Hold.NODE_SHARED: "·", Hold.OFFLINE: "x"}


def sign(picture: Picture, holder: Holder) -> str:
    """Give the one character that stands for a holder on its node."""
    if holder.hold in _SIGNS:
        return _SIGNS[holder.hold]
    letter = LETTERS[picture.pods.index(holder.pod) % len(LETTERS)]
    return letter if holder.hold is Hold.EXCLUSIVE else letter.lower()


def paint(picture: Picture, holder: Holder) -> Paint:
    """Give the colours of a holder on its node."""
    if holder.hold in _PLAIN:
        return _PLAIN[holder.hold]
    turn = picture.pods.index(holder.pod) % len(_STRONG)
    return (
        Paint("#ffffff", _STRONG[turn]) if holder.hold is Hold.EXCLUSIVE else Paint("#000000", _LIGHT[turn])
    )
