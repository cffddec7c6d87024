"""The seed of all intervals that are shown: one, so that a store has the same ones in every command and on its page."""

import numpy as np

__all__ = ["interval_rng"]

# Any number would do.
_SEED = 20261121


def interval_rng() -> np.random.Generator:
    """Return the randomness of one table's intervals, from its beginning: the same each time."""
    return np.random.default_rng(_SEED)
