"""Ranks of networks and of pairs of them within blocks, and their correlation given what is held constant."""

from dataclasses import dataclass

import numpy as np

SAME = 1e-9  # sums of squares that are smaller by this factor are zero but for rounding


def ranks_within(values: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Ranks within blocks, the mean one for ties, minus their mean, as fractions of the size of the block.

    >>> ranks_within(np.array([5.0, 9.0, 9.0, 2.0]), np.array([0, 0, 0, 1])).tolist()
    [-0.333, 0.167, 0.167, 0.0]
    """
    order = np.lexsort((values, blocks))
    sorted_values, sorted_blocks = values[order], blocks[order]
    changes = (np.diff(sorted_values) != 0) | (np.diff(sorted_blocks) != 0)
    ties = np.concatenate([[0], np.cumsum(changes)])
    places = np.bincount(ties, np.arange(len(values))) / np.bincount(ties)
    found = np.empty(len(values))
    found[order] = places[ties]
    block = np.unique(blocks, return_inverse=True)[1]
    sizes = np.bincount(block)
    return (found - (np.bincount(block, found) / sizes)[block]) / sizes[block]


def held_losses(loss: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """What of the loss is held constant, [networks, 2]: its ranks, and its logarithm minus the mean of the block."""
    log = np.log(loss) if (loss > 0).all() else loss
    log = log - (np.bincount(blocks, log) / np.bincount(blocks))[blocks]
    return np.column_stack([ranks_within(loss, blocks), log / max(log.std(), np.finfo(float).tiny)])


@dataclass(frozen=True)
class PairRanks:
    """Ranks of networks and pairs within blocks, from which coefficients are made.

    flat: [networks], centred ranks, as fractions of the networks of the block. held: [networks, losses], what is held
    constant, centred within blocks. paths: [pairs, quantities], centred ranks of pairs. ends: [pairs, 2], indices of
    networks. block: [pairs], its number, from 0 on.
    """

    flat: np.ndarray
    held: np.ndarray
    paths: np.ndarray
    ends: np.ndarray
    block: np.ndarray

    def coefficients(self, weights: np.ndarray) -> np.ndarray:
        """The coefficients [rows, quantities] for each row of weights [rows, pairs], NaN where nothing varies."""
        flat, held = self.flat[self.ends].mean(axis=1)[:, np.newaxis], self.held[self.ends].mean(axis=1)
        columns = np.column_stack([flat, self.paths, held])
        inside = (self.block[:, np.newaxis] == np.arange(self.block.max() + 1)).astype(float)
        total = weights @ inside
        sums = np.stack([weights @ (inside * column[:, np.newaxis]) for column in columns.T])
        squares = (columns[:, :, np.newaxis] * columns[:, np.newaxis]).reshape(len(columns), -1)
        products = (weights @ squares).reshape(-1, columns.shape[1], columns.shape[1])
        products = products - np.einsum("irs,jrs->rij", sums / np.where(total > 0, total, 1.0), sums)
        own = 1 + self.paths.shape[1]
        cross = products[:, :own, own:]
        given = cross @ np.linalg.pinv(products[:, own:, own:], rcond=SAME, hermitian=True) @ cross.transpose(0, 2, 1)
        left = products[:, :own, :own] - given
        before, after = (np.diagonal(each, axis1=1, axis2=2) for each in (products[:, :own, :own], left))
        varied = after > SAME * before
        joint, scale = left[:, 0, 1:], np.sqrt(np.abs(after[:, :1] * after[:, 1:]))
        return np.divide(joint, scale, out=np.full(joint.shape, np.nan), where=varied[:, :1] & varied[:, 1:])

    def permuted(self, order: np.ndarray) -> np.ndarray:
        """The coefficients [permutations, quantities] with the flatness in each order [permutations, networks].

        They are 0 where it does not vary. What is held is taken out of the flatness first. Centred pairs are a linear
        function of the networks of their block, so that no permutation has to be taken apart into pairs.
        """
        drawn = (self.flat - self.held @ np.linalg.lstsq(self.held, self.flat, rcond=SAME)[0])[order]
        quantities, losses = self.paths.shape[1], self.held.shape[1]
        joint, with_held = np.zeros((len(order), quantities)), np.zeros((len(order), losses))
        squares, path_square = np.zeros(len(order)), np.zeros(quantities)
        with_path, held_square = np.zeros((losses, quantities)), np.zeros((losses, losses))
        for number in range(self.block.max() + 1):
            inside = self.block == number
            members = np.unique(self.ends[inside])
            made = (self.ends[inside][:, :, np.newaxis] == members).mean(axis=1)  # [pairs, networks], halves
            made -= made.mean(axis=0)
            paths, held, own = (
                self.paths[inside] - self.paths[inside].mean(axis=0),
                made @ self.held[members],
                drawn[:, members],
            )
            joint += own @ (made.T @ paths)
            with_held += own @ (made.T @ held)
            squares += np.einsum("pn,pn->p", own @ (made.T @ made), own)
            path_square += (paths**2).sum(axis=0)
            with_path += held.T @ paths
            held_square += held.T @ held
        inverse, most = np.linalg.pinv(held_square, rcond=SAME, hermitian=True), squares.max(initial=0.0)
        joint -= with_held @ (inverse @ with_path)
        squares -= np.einsum("ph,ph->p", with_held @ inverse, with_held)
        path_square -= np.einsum("hq,hq->q", inverse @ with_path, with_path)
        scale = np.sqrt(np.abs(squares[:, np.newaxis] * path_square))
        varied = np.broadcast_to(squares[:, np.newaxis] > SAME * most, joint.shape)
        return np.divide(joint, scale, out=np.zeros(joint.shape), where=varied)
