"""Curvature at equal loss: a network's curvature when its training loss passed a level that other networks pass, too.

The Hessian of cross-entropy vanishes with the loss. Comparing eigenvalues of networks at different losses therefore
compares losses as much as curvature. If curvature was measured during training, networks can be compared at equal loss:
at the lowest loss that all networks of a setting reach. Between the two measurements around it, we interpolate linearly
in the logarithms of the quantity and the loss.

This module does not import torch.
"""

import numpy as np
import pandas as pd

from isthmus.analyses.claims.rows import NotMeasured

KEYS = ["setting", "level", "cell", "seed"]


def at_equal_loss(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per network, with its `value` when its loss passed the level that is common to its setting.

    rows: the rows of `curvature` at all epochs, with `value` (positive), `setting` and `level`. The common loss of a
    setting is the lowest that all its networks reach. Settings in which a network started below it are left out.
    Raises NotMeasured if no setting is left or values are not positive.
    """
    if "epoch" not in rows:
        raise NotMeasured("only the table `curvature` tells of moments during training")
    if not (rows["value"] > 0).all():
        raise NotMeasured("curvature during training is not positive throughout")
    found = [_setting(own) for _, own in rows[rows["loss"] > 0].groupby("setting")]
    told = [each for each in found if each is not None]
    if not told:
        raise NotMeasured(
            "no training loss is passed by all networks at measured moments (curvature `during_training`)"
        )
    return pd.concat(told, ignore_index=True)


def _setting(rows: pd.DataFrame) -> pd.DataFrame | None:
    networks = rows.sort_values("epoch", kind="stable").groupby(KEYS)
    if (networks.size() < 2).any():
        return None
    common = float(networks["loss"].min().max())
    if (networks["loss"].first() < common).any():
        return None
    values = [_passing(own["loss"].to_numpy(), own["value"].to_numpy(), common) for _, own in networks]
    return networks.last().reset_index().assign(value=values, loss=common)


def _passing(loss: np.ndarray, value: np.ndarray, common: float) -> float:
    """The value at the moment when the loss first falls to the common level."""
    after = int(np.flatnonzero(loss <= common)[0])
    if after == 0 or loss[after] == common:
        return float(value[after])
    ends = slice(after - 1, after + 1)
    share = (np.log(loss[after - 1]) - np.log(common)) / -np.diff(np.log(loss[ends]))[0]
    return float(np.exp(np.log(value[after - 1]) + share * np.diff(np.log(value[ends]))[0]))
