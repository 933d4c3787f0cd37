"""Axes: scales, limits and tick labels."""

import math
from collections.abc import Callable, Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

MOST_LABELS = 6  # on an axis of percentages


def plain(value: float) -> str:
    """A number as a short tick label: 0.01, 512, 20k, 3M."""
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale and math.isclose(value / scale, round(value / scale, 1)):
            return f"{value / scale:g}{unit}"
    return f"{value:.12g}"


def power(value: float) -> str:
    """A positive number as a tick label in powers of ten."""
    exponent = math.floor(math.log10(value) + 1e-9)
    digits = value / 10.0**exponent
    return rf"$10^{{{exponent}}}$" if math.isclose(digits, 1) else rf"${digits:g}\times10^{{{exponent}}}$"


def log_axis(axis: Axis, values: Iterable[float], most: int = 6) -> None:
    """A log axis with plain labels at `values` themselves (widths, say), at most some `most` of them, and margins.

    Works for a single value. `axis` is `axes.xaxis` or `axes.yaxis`; `values` are positive.
    """
    ordered = sorted(set(values))
    limits = ordered[0] / 1.25, ordered[-1] * 1.25
    if len(ordered) == 1:
        limits = ordered[0] / 2, ordered[0] * 2
    _set_log(axis, limits)
    axis.set_major_locator(FixedLocator(_thinned(ordered, most)))


def _thinned(values: Sequence[float], most: int) -> list[float]:
    """As many of the sorted positive `values` as have room on a log axis with space for `most` labels."""
    room = abs(math.log(values[-1] / values[0])) / max(most - 1, 1) * 0.999
    kept = [values[0]]
    for value in values[1:]:
        if abs(math.log(value / kept[-1])) >= room:
            kept.append(value)
    return kept


def decade_axis(axis: Axis, values: Iterable[float], most: int = 5) -> None:
    """A log axis over the positive ones of `values`, with some `most` labels at powers of ten.

    Labels are plain numbers, or powers where they would be long. Where the axis spans less than two decades, 2 and
    5 times the powers of ten have labels too; where it spans half a decade, numbers at equal steps have. Without any
    positive value the axis stays linear.
    """
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    if not positive:
        return
    low, high = min(positive), max(positive)
    margin = max((high / low) ** 0.05, 1.1)
    _set_log(axis, (low / margin, high * margin), power if low < 1e-3 else plain)
    decades = math.log10(high / low) + 2 * math.log10(margin)
    steps = (1.0,) if decades >= 2 else (1.0, 2.0, 5.0)
    even = MaxNLocator(most - 1, steps=[1, 2, 5, 10])
    axis.set_major_locator(LogLocator(subs=steps, numticks=most + 1) if decades >= 0.6 else even)


def _set_log(axis: Axis, limits: tuple[float, float], label: Callable[[float], str] = plain) -> None:
    name = "x" if axis is axis.axes.xaxis else "y"
    axis.axes.set(**{f"{name}scale": "log", f"{name}lim": limits})
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: label(value)))


def zero_axis(
    axes: Axes, values: Iterable[float], most: int = 4, written: Callable[[float], str] | None = None
) -> None:
    """A y axis for values from 0 over several powers of ten: linear from 0 to its lowest labelled power, then log.

    That power is the one below the smallest positive one of `values`, but at most `most` powers below the largest.
    Where the values are within a factor of ten, or all 0, the axis is linear. Tick labels are `written`.
    """
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    largest = max(positive, default=1.0)
    top = math.ceil(math.log10(largest) - 1e-9)
    lowest = max(math.floor(math.log10(min(positive, default=1.0)) + 1e-9), top - most)
    if written is not None:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    if top - lowest <= 1:
        axes.set_ylim(-0.05 * largest, 1.1 * largest)
        return
    powers = [10.0**exponent for exponent in range(lowest, top + 1)]
    axes.set_yscale("symlog", linthresh=powers[0], linscale=0.8)
    axes.set_ylim(-0.12 * powers[0], 1.6 * largest)
    axes.yaxis.set_major_locator(FixedLocator([0.0, *powers]))
    axes.yaxis.set_minor_locator(NullLocator())
    label = written or (power if lowest < -3 else plain)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: label(value) if value else "0"))


def headroom(axes: Axes, share: float) -> None:
    """Leave the upper `share` of a panel, whose limits are set, free for text; shared scales follow."""
    low, high = axes.get_ylim()
    log = axes.get_yscale() == "log"
    axes.set_ylim(low, low * (high / low) ** (1 / (1 - share)) if log else low + (high - low) / (1 - share))


def percent_axis(axis: Axis, shares: Iterable[float]) -> None:
    """A log axis of positive `shares` with labels in percent, at round ones; a horizontal one falls to the right."""
    decade_axis(axis, shares)
    low, high = sorted(axis.get_view_interval())
    decades = math.log10(high / low)
    digits = (1,) if decades >= 2.5 else (1, 2, 5) if decades >= 0.9 else range(1, 10)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    round_ones = [digit * 10.0**power for power in reversed(powers) for digit in reversed(digits)]
    axis.set_major_locator(FixedLocator(_thinned([share for share in round_ones if low <= share <= high], MOST_LABELS)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    if axis is axis.axes.xaxis:
        axis.set_inverted(True)


def percent(value: float) -> str:
    """A share as a tick label, in percent: 0.2 is "20"."""
    return plain(float(f"{100 * value:.6g}"))
