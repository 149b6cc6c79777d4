"""The C_T test of data copying (Meehan, Chaudhuri and Dasgupta 2004.05675): are samples closer to training images than
unseen images are.

The training images are cut into cells. In a cell with m samples and n held-out images, U counts the pairs in which the
sample lies farther from its nearest training image of the cell than the held-out image does, and
    Z = (U - (n m / 2 - 1/2)) / sqrt(n m (n + m + 1) / 12);
C_T is the mean of Z over the cells with more than 20 samples, weighted by their shares of held-out images. Far below 0:
samples are copies. Far above: the model does not reach the data.

Choices of ours. Three cells by k-means with ten starts of a fixed seed, after 64 principal components where there are
more features; cells without held-out images are left out, as they weigh nothing. Published C_T is read as if standard
normal, which only one cell makes it. The interval is C_T's own: that of each cell's AUC (DeLong's, and exact where no
pair contradicts), carried over to Z and joined over the cells. It lies below 0 where copying is shown.

Of samples that remember nothing, 400 repetitions at 2 to 32 features, 80 to 300 images a side and 100 to 1,000 samples:
the interval lies below 0 in .01 to .03 and off 0 in .03 to .05 (`pytest -m slow tests/leakbench/metrics -k
copying_test`).
"""

from __future__ import annotations

from math import hypot, sqrt

import numpy as np
from torch import Tensor

from leakbench.statistics.auc import auc
from leakbench.statistics.estimate import Estimate

_CELLS, _STARTS, _COMPONENTS, _FEWEST = 3, 10, 64, 20


def copying_test(samples: Tensor, train: Tensor, heldout: Tensor) -> Estimate | None:
    """C_T of samples (N, D), training images (M, D) and held-out images (K, D), with its interval; `n` is min(N, K).

    None where no cell has more than 20 samples and two or more held-out images.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.metrics import pairwise_distances_argmin_min

    tables = [one.double().cpu().numpy() for one in (samples, train, heldout)]
    components = min(_COMPONENTS, len(train) - 1)
    if tables[1].shape[1] > components:
        reduce = PCA(components, svd_solver="full").fit(tables[1])
        tables = [reduce.transform(one) for one in tables]
    ours, known, unseen = tables
    cells = KMeans(min(_CELLS, len(known)), n_init=_STARTS, random_state=0).fit(known)
    places = [cells.predict(one) for one in tables]
    weights, found = [], []
    for cell in range(cells.n_clusters):
        mine, here, others = (table[place == cell] for table, place in zip(tables, places, strict=True))
        if len(mine) <= _FEWEST or len(others) < 2:
            continue
        distances = [pairwise_distances_argmin_min(one, here)[1] for one in (mine, others)]
        found.append(_as_z(auc(*distances), len(mine), len(others)))
        weights.append(len(others))
    if not found:
        return None
    shares = np.array(weights) / sum(weights)
    value = float(shares @ [one.value for one in found])
    below = hypot(*(share * (one.value - one.low) for share, one in zip(shares, found, strict=True)))
    above = hypot(*(share * (one.high - one.value) for share, one in zip(shares, found, strict=True)))
    return Estimate(value, value - below, value + above, min(len(ours), len(unseen)))


def _as_z(found: Estimate, m: int, n: int) -> Estimate:
    """U over its standard deviation under the null, of an AUC of m against n."""
    value, low, high = ((m * n * (one - 0.5) + 0.5) / sqrt(m * n * (m + n + 1) / 12) for one in _ends(found))
    return Estimate(value, low, high, found.n)


def _ends(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.low, found.high
