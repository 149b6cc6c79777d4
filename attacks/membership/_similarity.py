"""Structural similarity of two images.

Wang et al. 2004 (IEEE TIP 13/4), eq. 13, with their constants K1 = 0.01 and K2 = 0.03. Choices of ours: a flat window
of 7 x 7, or of the whole image where that is smaller (their Gaussian of 11 x 11 does not fit into 8 x 8), wholly inside
the image; the mean over windows and channels; images in [-1, 1], so a range of 2.
"""

from torch import Tensor
from torch.nn import functional as F

_WINDOW = 7
_RANGE = 2.0


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """SSIM (N,), at most 1, of images a and b (N, C, H, W) in [-1, 1]."""
    window = min(_WINDOW, *a.shape[-2:])

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, window, stride=1)

    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    both = mean(a * b) - mu_a * mu_b
    c1, c2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2
    likeness = (2 * mu_a * mu_b + c1) * (2 * both + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return likeness.flatten(1).mean(dim=1)
