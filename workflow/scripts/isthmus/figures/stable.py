"""The line below which a network is stable to SGD noise, for figures of barriers between twins."""

from isthmus.figures.axes import zero_axis
from isthmus.figures.looks import GREY, Look, key_of
from isthmus.figures.means import Means, extent
from isthmus.tables.quantities import STABLE_BARRIER

STABLE_LOOK = Look(GREY, "none", (0, (4, 2)))


def mark_stable(made: Means, quantity: str) -> None:
    """Draw the line where the first row of axes shows this quantity, a barrier in test error."""
    if made.shown[0].name != quantity:
        return
    for _, stack in made.placed:
        stack[0].axhline(STABLE_BARRIER, color=GREY, linestyle=STABLE_LOOK.line, linewidth=0.8, gid="stable", zorder=1)
    zero_axis(made.placed[0][1][0], [*extent(made, made.shown[0]), STABLE_BARRIER])
    made.keys.append(key_of(f"{STABLE_BARRIER}: stable below", STABLE_LOOK, marker=False))
