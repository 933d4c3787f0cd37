"""The note under a figure: how many networks are behind a mark, what was left out and why, and what the marks are."""

from collections.abc import Iterable, Sequence

import pandas as pd

from isthmus.figures.panels import in_all_panels, rows_of, throughout
from isthmus.figures.shown import one_by_one, panel_axes
from isthmus.figures.style import listed
from isthmus.statistics.values import with_baselines
from isthmus.tables.descriptions import Lines
from isthmus.tables.quantities import FEWEST_POINTS, named


def span(numbers: Iterable[int], what: str = "") -> str:
    """The least and the greatest of some counts, in words."""
    low, high = (int(end) for end in (min(numbers), max(numbers)))
    text = f"{high:,}" if low == high else f"{low:,} to {high:,}"
    return f"{text} {what}{'' if high == 1 else 's'}" if what else text


def note_under(
    tables: dict[str, pd.DataFrame], study: str, rows: pd.DataFrame, lines: Lines, others: Sequence[str] = ()
) -> str:
    """The note under a figure of means, whose `rows` of `summaries` it shows; `others` are further sentences."""
    shared = in_all_panels(rows, panel_axes(lines), " ".join(others))
    sentences = [_counts(tables, study, rows, lines.shared), _marks(rows, lines), left_out(rows), _not_converged(rows)]
    measured = rows[rows["n"] > 0]
    sentences += [_examples(tables, study, measured), _few_points(tables, study, measured)]
    sentences += [shared, throughout(rows), *others]
    return " ".join(filter(None, sentences))


def _counts(tables: dict[str, pd.DataFrame], study: str, rows: pd.DataFrame, shared: str) -> str:
    """How many networks or pairs are behind a point, and how many of all are left out because they diverged."""
    used = rows[rows["n"] > 0]
    all_of_them, lost, what = _members(tables, study, rows, shared)
    if used.empty:
        return counted("", all_of_them, lost, what)
    networks = span(used["n"], "network")
    of_pairs = used["pairs"].notna().any()
    return counted(
        f"{span(used['pairs'].dropna(), 'pair')} of {networks}" if of_pairs else networks, all_of_them, lost, what
    )


def counted(per_point: str, total: int, lost: int, what: str = "network") -> str:
    """The sentence that says how many are behind a point, in words, and how many of the `total` diverged."""
    if not per_point and lost and lost == total:
        return f"{f'All {total} {what}s' if lost > 1 else f'The only {what}'} diverged: there is nothing to draw."
    if not per_point:
        return "Nothing to draw: nothing was measured."
    if total == 1:
        return f"n = {per_point} per point."
    if not lost:
        return f"n = {per_point} per point; none of {span([total], what)} diverged."
    are = "is" if lost == 1 else "are"
    return f"n = {per_point} per point; {lost} of {span([total], what)} diverged and {are} left out."


def _members(tables: dict[str, pd.DataFrame], study: str, rows: pd.DataFrame, shared: str) -> tuple[int, int, str]:
    """How many networks, pairs or paths are behind the rows, how many of them diverged, and their name."""
    quantity = named(rows["quantity"].iloc[0])
    of_pairs, own = quantity.of_pairs, "diverged" in tables[quantity.table]
    table = "connections" if quantity.table == "paths" else quantity.table  # which has a row per path
    source = rows_of(study, tables, table if own else quantity.networks)
    source = with_baselines(quantity, source, rows_of(study, tables, "networks"))
    source = source[source["points"] != 0] if of_pairs else source  # a pair may have a distance alone
    source = source.query(quantity.rows) if quantity.rows and own and not of_pairs else source
    source = source[source["cell"].isin(rows["cell"].unique())]
    told = [] if of_pairs or "kind" not in source else [name for name in ("kind", "level") if name in quantity.by]
    for name in told:
        source = source[source[name].isin([*rows[name], shared])]
    of_paths = of_pairs and "kind" in source
    members = ["seed_a", "seed_b", *(["kind"] if of_paths else [])] if of_pairs else ["seed"]
    flags = source.groupby(["cell", *members, *told], observed=True)["diverged"].any()
    return len(flags), int(flags.sum()), "path" if of_paths else "pair" if of_pairs else "network"


def _marks(rows: pd.DataFrame, lines: Lines) -> str:
    """What the marks are, and how the intervals were computed."""
    if not rows["n"].any():
        return ""
    statistics = set(rows["statistic"])
    means = f"{rows['statistic'].iloc[0]}s" if len(statistics) == 1 else "means, geometric on log axes"
    means = "medians of steps, means of shares" if len(statistics) > 1 and "median" in statistics else means
    of_pairs = rows["pairs"].notna().any()
    behind = "pairs" if of_pairs else "networks"
    dots = f"Dots: {behind}. " if lines.dots and not lines.bands else ""
    intervals = rows.loc[rows["low"].notna(), "statistic"].unique()
    without = (
        rows["low"].isna() & rows["value"].notna() & (rows["statistic"].isin(intervals) | (rows["n"] == 1) | of_pairs)
    )
    how = "bootstrap intervals, which resample networks" if of_pairs else "bootstrap intervals over networks"
    details = [
        "none where n is below 3 networks, or all pairs share one" if of_pairs else "none where n = 1 or all are equal"
    ]
    details = details if without.any() else []
    if "median" in intervals:
        how = "intervals over networks, order statistics of medians" + ", bootstrap of means" * (len(intervals) > 1)
        details.insert(0, "all networks if below six")
    in_brackets = f" ({'; '.join(details)})" if details else ""
    if not len(intervals):
        return f"{dots}Lines: {means}. {f'No intervals{in_brackets}.' if details else ''}".strip()
    if lines.bands:
        panels = rows.groupby(["axes", *panel_axes(lines)], observed=True)
        few = f"; few {behind} are thin lines instead" if any(one_by_one(own).all() for _, own in panels) else ""
        return f"Lines: {means}. Bands: 95 % {how}{in_brackets}{few}."
    return f"{dots}Lines: {means}. {'Bars and bands' if lines.level else 'Bars'}: 95 % {how}{in_brackets}."


def _not_converged(rows: pd.DataFrame) -> str:
    """The sentence that counts drawn estimates that did not reach their precision; empty without any."""
    parts = []
    for quantity, own in rows.groupby("quantity", sort=False):
        drawn = int(own["pairs"].fillna(own["n"]).sum())
        if count := int(own["not_converged"].sum()):
            parts.append(f"{named(str(quantity)).label} ({count} of {drawn} values)")
    return f"Drawn without having converged to the precision asked for: {', '.join(parts)}." if parts else ""


def _examples(tables: dict[str, pd.DataFrame], study: str, rows: pd.DataFrame) -> str:
    """The sentence that says on how many examples the quantities were measured; empty where nothing says so."""
    counts: dict[str, None] = {}
    for quantity in map(named, rows["quantity"].unique()):
        if quantity.examples:
            given = rows_of(study, tables, quantity.table)[quantity.examples].dropna().astype(int)
            kind = {"train_examples": " training", "test_examples": " test"}.get(quantity.examples, "")
            counts |= dict.fromkeys(f"{count}{kind}" for count in sorted(given[given > 0].unique()))
    return f"Measured on {listed(list(counts))} examples." if counts else ""


def _few_points(tables: dict[str, pd.DataFrame], study: str, rows: pd.DataFrame) -> str:
    """The sentence that says on how few points of a path barriers were looked for; empty where these are enough."""
    counts: set[int] = set()
    for quantity in map(named, rows["quantity"].unique()):
        if quantity.points:
            drawn = rows.loc[rows["quantity"] == quantity.name, ["cell", *quantity.by]].drop_duplicates()
            known = rows_of(study, tables, quantity.table).merge(drawn, on=["cell", *quantity.by])[quantity.points]
            counts |= {int(count) for count in known.dropna() if count < FEWEST_POINTS}
    return f"Barriers on {span(counts)} points of a path: between these it may rise further." if counts else ""


def left_out(rows: pd.DataFrame) -> str:
    """The sentence that counts values of networks that did not diverge and yet are not drawn; empty without any."""
    parts = []
    for quantity, own in rows.groupby("quantity", sort=False):
        for column, why in (("not_positive", "not positive"), ("missing", "not finite")):
            count = int(own[column].sum())
            parts += [f"{named(str(quantity)).label} ({span([count], 'value')} {why})"] if count else []
    return f"Also left out: {', '.join(parts)}." if parts else ""
