"""GSA1: the norms of one image's gradient, parameter by parameter, tell whether the weights have settled on it.

Pang et al., PoPETs 2025 (2308.06405). With T' timesteps evenly spaced (99, 199, .., 999), the losses are averaged and
differentiated once; a feature for each parameter tensor; a classifier is trained on shadow models:

    f_p(x) = || grad_p (1/T') sum_t L_t(x) ||_2,   S(x) = log-odds of membership by the classifier

Ten timesteps and six shadow models as in the paper, 200 trees. Choices of ours: L_t is the mean over pixels (a factor,
which no tree sees) with the noise that all attacks share, draw number i at the i-th timestep; the classifier is
scikit-learn's HistGradientBoostingClassifier, of the same family as the published XGBoost, with at most 8 leaves a tree
because its rows are few (calibration images times shadow models); no scaling: a tree sees only the order of a feature's
values (the published code standardises the target's members and nonmembers together, which looks at what is to be
judged). Membership in the target is never a label here, that in the shadow models is.
"""

from ._gsa import GSA


class GSA1(GSA):
    """One backward pass an image; `timesteps` network calls. Needs shadow models of the target's architecture."""

    name = "gsa1"
    summary = "gradient norms of the mean loss, judged by a classifier trained on shadow models (GSA1)"
    at_once = True
