"""LiRA, online: is the loss more likely of a model that was trained on the image, or of one that was not?

Carlini et al., S&P 2022 (2112.03570), algorithm 1; on diffusion models in Carlini et al. 2023 (2301.13188). Over shadow
models on random halves of the data, with phi the denoising loss at t (`loss`'s, mean of shared noise draws):

    S(x) = log N(phi; mu_in(x), s_in) - log N(phi; mu_out(x), s_out)

t = 100 and 16 shadow models as in the diffusion paper. Means as in the paper (its code centres on medians).
`variance`: "per_image" estimates s_in and s_out for each image; "pooled" takes one of each for all images, by far the
better with few shadow models; "auto" pools below 64 of them.

Choices of ours: 64; phi is the loss itself, without a transform towards normality; the pooled variance is that around
each image's own mean (the official code's is that of all values, in which images differ as well, and takes s_out from
the IN array: here OUT is OUT), over calibration images, from shadow models alone; variances are unbiased; an image that
lies in fewer than two shadow models of a side takes the pooled variance there; one that lies in all or in none takes
the missing mean from the other one and the mean difference of calibration images. No mirrored images: their calls would
be shared with no other attack, and models that were trained without mirroring know nothing of them. 4 noise draws.
"""

from torch import Tensor

from ._lira import LiRA


class LiRAOnline(LiRA):
    """Log-likelihood ratio; `draws` network calls an image, and as many of each shadow model."""

    name = "lira_online"
    summary = "likelihood ratio of the loss over shadow models with and without the image (LiRA, online)"

    def ratio(self, z_in: Tensor, std_in: Tensor, z_out: Tensor, std_out: Tensor) -> Tensor:
        """log N(phi; IN) - log N(phi; OUT)."""
        return (z_out.square() - z_in.square()) / 2 + std_out.log() - std_in.log()
