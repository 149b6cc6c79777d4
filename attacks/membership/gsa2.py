"""GSA2: as GSA1, with one gradient for each timestep.

Pang et al., PoPETs 2025 (2308.06405). The norms are averaged, not the losses:

    f_p(x) = (1/T') sum_t || grad_p L_t(x) ||_2,   S(x) = log-odds of membership by the classifier

Timesteps, classifier and choices of ours: gsa1.py.
"""

from ._gsa import GSA


class GSA2(GSA):
    """`timesteps` network calls and backward passes an image. Needs shadow models of the target's architecture."""

    name = "gsa2"
    summary = "mean gradient norms over timesteps, judged by a classifier trained on shadow models (GSA2)"
    at_once = False
