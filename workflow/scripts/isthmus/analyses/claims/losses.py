"""Curvature at equal loss: what a network's Hessian was when its training loss passed a level that others pass, too.

The Hessian of cross-entropy vanishes with the loss, so that eigenvalues of networks at different losses compare the
losses as much as the curvature. Networks whose curvature was measured during training can be compared where their
losses are equal: at the lowest loss that all networks of a setting reach. Between the two moments around it, the
logarithm of the quantity is taken to be linear in the logarithm of the loss.

This module does not import torch.
"""

import numpy as np
import pandas as pd

from isthmus.analyses.claims.rows import NotMeasured

KEYS = ["setting", "level", "cell", "seed"]


def at_equal_loss(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per network of the settings that allow it, with `value` where its `loss` passed the common level.

    rows: those of `curvature` at all moments, with `value` (positive), `setting` and `level`. In each setting the level
    is the lowest loss that all its networks reach. Settings in which a network started below it are left out.
    Raises NotMeasured where none is left, and where values are not positive.
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
    """The value where the loss, in the order of training, first comes down to the common one."""
    after = int(np.flatnonzero(loss <= common)[0])
    if after == 0 or loss[after] == common:
        return float(value[after])
    ends = slice(after - 1, after + 1)
    share = (np.log(loss[after - 1]) - np.log(common)) / -np.diff(np.log(loss[ends]))[0]
    return float(np.exp(np.log(value[after - 1]) + share * np.diff(np.log(value[ends]))[0]))
