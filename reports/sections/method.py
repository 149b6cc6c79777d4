"""A paragraph on how the numbers were made."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.exact_tests import is_few
from ..reading.pretrained import pretrained_defenses

TEMPLATE = """\
## Method

{% if pretrained %}
Members and nonmembers are as they were given, but for near-duplicates: of two images that resemble each other one is
left out, a nonmember before a member.
{% else %}
Near-duplicates are removed before the split; members and nonmembers are drawn at random before any training.
{% endif %}
{% if few %}
Nothing is calibrated: there are too few images ("Few images" says how they are tested). All attacks on a
{% else %}
Thresholds, orientations and supervised models come from calibration images, never from reported ones. All attacks on a
{% endif %}
release are one family, and their intervals in the tables of leakage hold together; at an access level stands the one
that shows the most, among those that need that level or less. AUC intervals are DeLong's, and so are differences of two
attacks on the same images. Two releases are compared in pairs, by the images and sample seeds that they share. Where a
table tests many hypotheses, p values are corrected by Holm. A copy is a sample at or beyond a
threshold that was calibrated on held-out real images; what is reported is its excess over the rate that further
held-out images reach. Frechet distances compare equal numbers of images, and stand beside the distance of real images
to real images (the floor). All intervals are at 95 %. The exact definitions are in the modules of
`leakbench.statistics`; every number with its interval is in `results.csv`.
{% if groups %}
Images come in groups: variances are those of sums over groups (Obuchowski's for an AUC), and proportions go by the
effective number of images.
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any]:
    """Collect the defenses whose models were not trained here, whether images come in groups, and whether they were too
    few to calibrate."""
    few = any(map(is_few, run.records))
    return {"pretrained": pretrained_defenses(run), "groups": run.plan.groups is not None, "few": few}
