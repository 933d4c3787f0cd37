"""Summaries: the mean of every quantity over the networks of each cell, with its interval and its count.

Means of quantities that vary by factors are geometric: the exponential of the mean of the logarithms, with the interval
of that. A value that is not positive has no logarithm; it is left out and counted. Intervals are those of
`isthmus.statistics.bootstrap` over networks, or of `isthmus.statistics.pairs` over pairs of networks. Numbers that may
be too large to be observed have a median (`isthmus.statistics.medians`).
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from isthmus.recipes.cell_table import CELLS, rows_of_study
from isthmus.statistics.bootstrap import summarize
from isthmus.statistics.medians import summarize_medians
from isthmus.statistics.pairs import summarize_pairs
from isthmus.statistics.values import PAIR, names_in, values, with_baselines
from isthmus.tables.quantities import Quantity, named

MEANS = {False: "mean", True: "geometric mean"}
METHODS = {False: "bootstrap over networks", True: "bootstrap over the networks of pairs"}
ENDS = ["value", "low", "high"]
LEFT_OUT = ["missing", "not_positive"]
COUNTS = [*LEFT_OUT, "not_converged"]
KEYS = ["study", "quantity", "cell"]
NUMBERS = [*ENDS, "n", "pairs", "diverged", *COUNTS, "statistic", "method"]


def summarize_study(study: str, quantities: Iterable[str], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of the table `summaries` for some quantities of a study, sorted.

    tables: collected tables by name, `networks` and `cells` among them. A quantity whose table has no row of the study
    has none. Columns: the keys, the axes of the cells, the columns `by` of all these quantities, and the numbers.
    """
    own = {name: rows_of_study(table, study) for name, table in tables.items()}
    found = [
        summarize_quantity(named(name), own[named(name).table], own[named(name).networks]).assign(quantity=name)
        for name in quantities
        if not own[named(name).table].empty
    ]
    if not found:
        return pd.DataFrame(columns=[*KEYS, *NUMBERS])
    cells = own[CELLS].dropna(axis="columns", how="all")
    rows = pd.concat(found, ignore_index=True).merge(cells, on="cell", how="left", validate="m:1")
    by = dict.fromkeys(column for name in quantities for column in named(name).by)
    axes = [name for name in cells if name not in KEYS]
    return rows[[*KEYS, *axes, *(name for name in by if name in rows), *NUMBERS]]


def summarize_quantity(quantity: Quantity, table: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """The mean of a quantity over the networks of each cell of a study, a row for each value of the columns `by`.

    table, networks: a study's rows of the quantity's table and of its `networks`. Returns the columns `cell`,
    `by`, `value`, `low` and `high` (null where there is none), `n` (networks in the mean), `pairs` (null for a quantity
    of networks), `diverged`, `missing` and `not_positive` (networks or pairs that are left out), `not_converged` (of
    those in the mean), `statistic` and `method`.

    >>> from isthmus.tables.quantities import named
    >>> rows = pd.DataFrame({"cell": "a", "seed": [0, 1, 2], "final": True, "relative_change": [1.0, 4.0, 0.0]})
    >>> networks = pd.DataFrame({"cell": "a", "seed": [0, 1, 2], "diverged": False})
    >>> summary = summarize_quantity(named("kernel_change"), rows, networks)
    >>> summary[["value", "n", "not_positive", "statistic"]].values.tolist()
    [[2.0, 2, 1, 'geometric mean']]
    """
    table = with_baselines(quantity, table, networks)
    found, by = values(quantity, table, networks), ["cell", *quantity.by]
    positive, log = found["value"] > 0, quantity.log and not quantity.median
    counted = found.assign(
        value=np.log(found["value"].where(positive)) if log else found["value"],
        missing=found["value"].isna() & (not quantity.median),
        not_positive=log & found["value"].notna() & ~positive,
        not_converged=~found["converged"].astype(bool) & (positive if log else found["value"].notna()),
    )
    of_pairs = set(PAIR) <= set(found.columns)
    # The interval of a geometric mean is positive without being cut off.
    limits = (-np.inf, np.inf) if log else quantity.limits
    if quantity.median:
        summary = summarize_medians(counted, by, "value")
    else:
        summary = (summarize_pairs if of_pairs else summarize)(counted, by, "value", limits=limits)
    # Without a single group there are no keys to take types from.
    summary = summary.rename(columns={"mean": "value"}).astype(found.dtypes[by].to_dict())
    summary[ENDS] = np.exp(summary[ENDS]) if log else summary[ENDS]
    summary["n"], summary["pairs"] = (summary["networks"], summary["count"]) if of_pairs else (summary["count"], np.nan)
    counts = counted.groupby(by, observed=True)[COUNTS].sum().reset_index()
    summary = summary.merge(counts, on=by, validate="1:1")
    lost = _diverged(quantity, table, networks)
    summary = summary.merge(lost, on=[name for name in by if name in lost], how="outer", validate="m:1")
    whole = ["n", "diverged", *COUNTS]
    summary[whole] = summary[whole].astype(float).fillna(0).astype(int)
    summary["statistic"] = "median" if quantity.median else MEANS[log]
    summary["method"] = "order statistics" if quantity.median else METHODS[of_pairs]
    return summary[[*by, *NUMBERS]]


def _diverged(quantity: Quantity, table: pd.DataFrame, networks: pd.DataFrame) -> pd.DataFrame:
    """How many networks or pairs of each cell diverged, for each value of those columns `by` that they have.

    Tables without a column `diverged` have no rows of diverged networks; `networks` counts those.
    """
    counted = table if "diverged" in table else networks
    lost = counted[counted["diverged"].astype(bool)]
    if quantity.rows and names_in(quantity.rows) <= set(lost.columns):
        lost = lost.query(quantity.rows)
    # A diverged network may have a single row, with nulls in place of the values of `by`.
    by = ["cell", *(name for name in quantity.by if name in lost and len(lost) and lost[name].notna().all())]
    members = [name for name in ("seed", *PAIR) if name in lost]
    return lost.drop_duplicates([*by, *members]).groupby(by, observed=True).size().rename("diverged").reset_index()
