"""The quantities of a network: what was measured of it, one number each, gathered from all tables of a study.

`QUANTITIES` is the list. A line says how a number is found: in the rows of a table for which a condition holds, by an
expression in its columns (both in the language of `pandas.eval`). An analysis whose table has a new column makes it
part of all statistics by a line here. What a study did not measure it does without.

Quantities of the group `outcome` say how well a network generalizes; the others are geometric, and are compared with
them. This module does not import torch.

Shares of examples are made of whole numbers. Accuracies of 0.9 and 0.7 and those of 0.8 and 0.8 have the same mean,
yet in floating point two means may differ in their last bit, which is enough to break a tie in a rank correlation. So
the mean of shares is their count of examples, summed as integers and divided once: equal counts give equal numbers,
bit for bit.
"""

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isthmus import cell_names
from isthmus.errors import DataError
from isthmus.pair_statistics import network_values

OUTCOME = "outcome"
# The grid on which means of shares are put where their table does not say of how many examples. Two different shares
# of at most 2^15 examples each lie at least 2^-30 apart, so that no two of them meet, and rounding errors, some 2^-52,
# are far below it.
SHARE_GRID = 2.0**30
NETWORK = ["cell", "seed"]  # what names a network within a study
PAIR = ["seed_a", "seed_b"]
AXES = list(cell_names.AXES)
TICKET = "kind == 'ticket'"


@dataclass(frozen=True)
class Quantity:
    """A number per network.

    label: in figures. value: expression in the columns of `table`. rows: condition on its rows, all where empty; of
    several rows per network the mean is taken, and of rows of pairs that over the pairs which the network is in. at: a
    column of whose values in the study the smallest is taken, such as the size of the noise. log: whether it is
    positive and spreads over factors, so that its logarithm is modelled. share: for a share of examples, an expression
    for the number of which the value times it is whole, such as the number of examples.
    """

    name: str
    label: str
    group: str
    table: str
    value: str
    rows: str = ""
    at: str = ""
    log: bool = True
    share: str = ""

    @property
    def of_pairs(self) -> bool:
        """Whether it belongs to pairs of networks: the values of networks of a cell then depend on each other."""
        return self.table == "connections"


def _disturbed(name: str, label: str, kind: str) -> Quantity:
    """The rise of the training loss when the weights are disturbed, at the smallest size that the study has."""
    return Quantity(name, label, "noise", "perturbations", "rise", f"kind == '{kind}'", at="size")


def _path(name: str, label: str, value: str, kind: str, log: bool = True, share: str = "") -> Quantity:
    """A number of the paths of one kind."""
    return Quantity(name, label, "paths", "connections", value, f"kind == '{kind}'", log=log, share=share)


def _share(name: str, label: str, table: str, value: str, share: str, rows: str = "", at: str = "") -> Quantity:
    """An outcome that is a share of examples."""
    return Quantity(name, label, OUTCOME, table, value, rows, at, share=share)


EXAMPLES = "test_examples"
GAP_GRID = "train_examples * test_examples"  # both shares of the gap are whole multiples of one part of this
ERROR_BARRIER_GRID = "test_examples * (points - 1)"  # the straight line between the ends is cut at points of the path


QUANTITIES = (
    _share("test_error", "test error", "networks", "1 - test_accuracy", EXAMPLES),
    Quantity("test_loss", "test loss", OUTCOME, "networks", "test_loss"),
    Quantity(
        *("generalization_gap", "generalization gap", OUTCOME, "networks", "generalization_gap"),
        log=False,
        share=GAP_GRID,
    ),
    Quantity("generalization_gap_loss", "gap of the loss", OUTCOME, "networks", "generalization_gap_loss", log=False),
    _share("corruption_error", "corruption error", "robustness", "1 - accuracy", "images", "severity > 0"),
    _share(
        *("ticket_error", "error of the ticket", "tickets", "1 - test_accuracy", EXAMPLES),
        rows=TICKET,
        at="kept_fraction",
    ),
    Quantity("train_loss", "training loss", "training", "networks", "train_loss"),
    Quantity("weight_norm", "norm of the weights", "training", "networks", "weight_norm_final"),
    Quantity("movement", "movement", "movement", "networks", "movement"),
    Quantity("relative_movement", "relative movement", "movement", "networks", "relative_movement"),
    Quantity("kernel_change", "change of the kernel", "movement", "kernels", "relative_change", "final"),
    Quantity("kernel_alignment", "alignment of the kernel", "movement", "kernels", "target_alignment", "final"),
    Quantity("top_eigenvalue", "top eigenvalue", "curvature", "curvature", "top_eigenvalue", "final"),
    Quantity("top_over_loss", "top eigenvalue / loss", "curvature", "curvature", "top_eigenvalue_over_loss", "final"),
    Quantity("trace", "trace of the Hessian", "curvature", "curvature", "trace", "final"),
    _disturbed("noise_rise", "loss rise, noise", "noise"),
    _disturbed("relative_noise_rise", "loss rise, relative noise", "relative_noise"),
    _disturbed("worst_rise", "loss rise, worst in ball", "worst"),
    _disturbed("adaptive_worst_rise", "loss rise, adaptive worst", "adaptive_worst"),
    _path("linear_barrier", "barrier, linear", "barrier_train_loss", "linear", log=False),
    _path(
        *("linear_error_barrier", "test-error barrier, linear", "barrier_test_error", "linear"),
        log=False,
        share=ERROR_BARRIER_GRID,
    ),
    _path("aligned_barrier", "barrier, aligned", "barrier_train_loss", "linear-aligned", log=False),
    _path("bezier_barrier", "barrier, Bézier", "barrier_train_loss", "bezier", log=False),
    _path("chain_barrier", "barrier, chain", "barrier_train_loss", "polychain", log=False),
    _path("chord", "distance of minima", "chord", "linear"),
    _path("aligned_chord", "distance, aligned", "chord", "linear-aligned"),
    _path("bezier_detour", "detour − 1, Bézier", "detour - 1", "bezier"),
    _path("bezier_turning", "turning, Bézier", "turning", "bezier"),
    _path("bezier_sharpness", "sharpness, Bézier", "sharpness_mean", "bezier"),
    _path("disagreement", "disagreement", "disagreement", "linear", share=EXAMPLES),
)

LABELS = {quantity.name: quantity.label for quantity in QUANTITIES}


@dataclass(frozen=True)
class Gathered:
    """The quantities of the networks of a study that enter its statistics.

    frame: a row per network in the order of cells and seeds, indexed by them, with its axes and a column per quantity,
    NaN where it has no value. pairs: by quantity of pairs, its `value` for each pair of these networks. line: per
    network, all axes but the width. quantities: those that the study measured. at: by quantity, the size at which it
    was. diverged, not_interpolating: networks left out for this.
    """

    frame: pd.DataFrame
    pairs: Mapping[str, pd.DataFrame]
    line: pd.Series
    quantities: tuple[Quantity, ...]
    at: Mapping[str, float]
    diverged: int
    not_interpolating: int


def gather(study: str, tables: Mapping[str, pd.DataFrame], threshold: float | None = None) -> Gathered:
    """All quantities of a study that there are tables of.

    tables: collected tables by name, `networks` among them, of any studies. Diverged networks are left out, and with
    a `threshold` those whose training accuracy is below it, from pairs as well. A quantity that no network has a value
    of is left out, except of the table `networks`. The order of rows does not matter.
    Raises DataError where the study has no network, ValueError where `networks` holds one twice.
    """
    own = {name: _of_study(table, study) for name, table in tables.items()}
    networks = own["networks"].set_index(NETWORK).sort_index()
    if not networks.index.is_unique:
        raise ValueError(f"the table 'networks' holds a network of the study {study!r} more than once")
    if networks.empty:
        raise DataError(f"the table 'networks' has no row of the study {study!r}; run the workflow for it first")
    whole = networks[~networks["diverged"].astype(bool)]
    kept = whole if threshold is None else whole[whole["train_accuracy"] >= threshold]
    frame, found = kept[AXES].copy(), []
    at: dict[str, float] = {}
    pairs: dict[str, pd.DataFrame] = {}
    for quantity in QUANTITIES:
        if quantity.table not in own:
            continue
        rows, size = _rows(quantity, own[quantity.table], kept.index)
        if quantity.of_pairs:
            pairs[quantity.name] = rows
        values = _by_network(rows, kept.index, quantity.of_pairs)
        if values.notna().any() or quantity.table == "networks":
            frame[quantity.name] = values
            found.append(quantity)
            at |= {} if size is None else {quantity.name: size}
    line = pd.Series([cell_names.without(cell, ["width"]) for cell, _ in frame.index], index=frame.index, dtype=object)
    return Gathered(frame, pairs, line, tuple(found), at, len(networks) - len(whole), len(whole) - len(kept))


def _of_study(table: pd.DataFrame, study: str) -> pd.DataFrame:
    """The rows of a study, strings as plain strings."""
    rows = table[table["study"] == study].reset_index(drop=True)
    categories = rows.columns[rows.dtypes == "category"]
    return rows.astype(dict.fromkeys(categories, object))


def _rows(quantity: Quantity, rows: pd.DataFrame, networks: pd.Index) -> tuple[pd.DataFrame, float | None]:
    """The rows of a quantity of `networks`, or of pairs of them, with its `value`, and the size at which it holds."""
    if "diverged" in rows:
        rows = rows[~rows["diverged"].astype(bool)]
    rows, size = rows.query(quantity.rows) if quantity.rows else rows, None
    if quantity.of_pairs:
        inside = [pd.MultiIndex.from_arrays([rows["cell"], rows[end]]).isin(networks) for end in PAIR]
        rows = rows[inside[0] & inside[1]]
    if quantity.at and len(rows):
        size = float(rows[quantity.at].min())
        rows = rows[rows[quantity.at] == size]
    value = pd.Series(dtype=float)  # of no rows nothing is computed: columns that are all null are no numbers
    if len(rows):
        value = rows.eval(quantity.value).astype(float).replace([np.inf, -np.inf], np.nan)
    members = rows[["cell", *(PAIR if quantity.of_pairs else ["seed"])]].assign(value=value)
    if quantity.share:
        known = len(rows) > 0 and _names_in(quantity.share) <= set(rows.columns)
        members["examples"] = rows.eval(quantity.share).astype(float) if known else np.nan
    return members, size


def _by_network(rows: pd.DataFrame, networks: pd.Index, of_pairs: bool) -> pd.Series:
    """The value of each of `networks`, NaN where it has none: the mean over its rows, or over those of its pairs."""
    if of_pairs:
        rows = pd.concat([rows.assign(seed=rows[end]) for end in PAIR], ignore_index=True)
    # Sorted, as sums round by order; and a mean over some of the values only would be of something else.
    grouped = rows.sort_values([*NETWORK, "value"]).groupby(NETWORK)["value"]
    mean = _mean_of_shares(rows) if "examples" in rows else grouped.mean()
    return mean.where(grouped.count() == grouped.size()).reindex(networks)


def _mean_of_shares(rows: pd.DataFrame) -> pd.Series:
    """The mean per network of `value`, shares of so many `examples`, equal for equal counts of examples."""
    by = [rows[name] for name in NETWORK]
    if rows["examples"].isna().any():
        return np.round(rows["value"].groupby(by).mean() * SHARE_GRID) / SHARE_GRID
    whole = rows["examples"].groupby(by).transform(_common_multiple)
    # Whole numbers well below 2^53: the sum is exact in any order, and the division rounds once.
    counts = np.round(rows["value"] * rows["examples"]) * (whole / rows["examples"])
    return counts.groupby(by).sum() / whole.groupby(by).sum()


def _common_multiple(parts: pd.Series) -> int:
    return math.lcm(*(int(part) for part in parts.unique()))


def _names_in(expression: str) -> set[str]:
    """The columns that an expression speaks of."""
    return {node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)}


def modelled(gathered: Gathered, quantity: Quantity) -> tuple[pd.Series, str]:
    """The values of the networks that have one, by cell and seed, as models take them, and the scale of these.

    The scale is `log`, base 2, where the quantity spreads over factors and all of its values are positive, else
    `linear`. Of pairs, each network has the value of `isthmus.pair_statistics`, from the pairs on that scale; networks
    of cells whose pairs do not tell it are left out.
    """
    values = gathered.frame[quantity.name].dropna()
    each = gathered.pairs[quantity.name]["value"].dropna() if quantity.of_pairs else values
    scale = "log" if quantity.log and (each > 0).all() else "linear"
    if not quantity.of_pairs:
        return (np.log2(values) if scale == "log" else values), scale
    rows = gathered.pairs[quantity.name].loc[each.index].sort_values([*PAIR])
    rows["value"] = np.log2(each) if scale == "log" else each
    found: dict[tuple[str, int], float] = {}
    for cell, own in rows.groupby("cell"):
        networks = network_values(own["value"].to_numpy(), own[PAIR].to_numpy())
        seeds = np.unique(own[PAIR].to_numpy())
        found |= {} if networks is None else {(cell, seed): value for seed, value in zip(seeds, networks, strict=True)}
    index = pd.MultiIndex.from_tuples(list(found), names=NETWORK) if found else values.index[:0]
    return pd.Series(list(found.values()), index=index, dtype=float), scale
