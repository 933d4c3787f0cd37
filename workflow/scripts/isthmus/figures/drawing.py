"""Which function draws a figure: its own, or that of all figures of means.

A figure has a function of its own where the module of its stage defines `draw_NAME`. If the figure is described by
`lines`, too, that function gets these, and usually calls `draw_means` with something to add.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from matplotlib.figure import Figure as Drawn

from isthmus.figures.means import draw_means
from isthmus.tables.descriptions import Figure


def drawer(figure: Figure) -> Callable[..., Drawn]:
    """The function that draws a figure of a study, or of all studies, from tables by name.

    Raises AttributeError where a figure that `lines` do not describe has no function.
    """
    name, own = f"isthmus.figures.{figure.stage}", f"draw_{figure.name.replace('-', '_')}"
    module = import_module(name) if find_spec(name) else None
    if figure.lines is None:
        return getattr(module, own)
    return partial(getattr(module, own, draw_means), lines=figure.lines)
