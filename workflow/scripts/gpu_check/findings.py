"""What the measured cases say together: the limits of stacking for `jobs.stack: auto`, and whether the aims are met."""

from math import sqrt
from typing import Any

from gpu_check.record import Record

STEPS, SPEED = "steps", "speed"
NARROW, NARROW_AIM = 16, 10.0  # width, and times as fast as a plain loop
PUBLISHED_AIM = 3.0
KINDS = {"dense": ("mlp",), "convolutional": ("cnn", "resnet")}
Rows = list[dict[str, Any]]


def findings(record: Record) -> list[str]:
    """Lines of Markdown: the entry of workflow/gpu_stack_limits.toml for this card, and the aims."""
    rows = [row for row in record.measured(STEPS) if "stacked_us" in row]
    lines = []
    limits = {kind: limit for kind, names in KINDS.items() if (limit := break_even(rows, names)) is not None}
    if limits.keys() == KINDS.keys():
        entry = [f'["{record.machine["card"]}"]', *(f"{kind} = {limit:.2g}" for kind, limit in limits.items())]
        lines += ["For workflow/gpu_stack_limits.toml:", "", "```toml", *entry, "```", ""]
    narrow = [row["loop_us"] / row["best_us"] for row in rows if row["width"] <= NARROW and row["stack"] > 1]
    if narrow:
        lines += [
            f"- widths of {NARROW} and less: {min(narrow):.1f} to {max(narrow):.1f} times a plain loop "
            f"(aim: {NARROW_AIM:g})"
        ]
    published = [row["times_plain"] for row in record.measured(SPEED) if "times_plain" in row]
    if published:
        lines += [
            f"- published CNN, five seeds: {max(published):.2f} times a plain loop in the same precision "
            f"(aim: {PUBLISHED_AIM:g})"
        ]
    return lines


def break_even(rows: Rows, architectures: tuple[str, ...]) -> float | None:
    """Weights x examples of a step up to which a stack is faster than its networks one by one; None without rows.

    It lies between the largest step below which a stack always won and the next one; if a stack always or never won,
    at the largest or below the smallest that was measured. Rows that did not time both, as of compiled steps, are left
    out.

    >>> row = {"network": "mlp", "stacked_us": 1.0}
    >>> rows = [row | {"size": size, "one_us": seconds} for size, seconds in ((1e4, 4.0), (1e6, 2.0), (1e8, 0.5))]
    >>> break_even(rows, ("mlp",)), break_even(rows[:2], ("mlp",)), break_even(rows[2:], ("mlp",))
    (10000000.0, 1000000.0, 50000000.0)
    """
    mine = sorted(
        (row["size"], row["one_us"] > row["stacked_us"])
        for row in rows
        if row["network"] in architectures
        and {"one_us", "stacked_us"} <= row.keys()
        and row.get("stack", 2) > 1
        and row.get("precision", "float32") == "float32"
    )
    if not mine:
        return None
    lost = [size for size, won in mine if not won]
    if not lost:
        return float(mine[-1][0])
    won_below = [size for size, won in mine if won and size < lost[0]]
    return sqrt(won_below[-1] * lost[0]) if won_below else lost[0] / 2
