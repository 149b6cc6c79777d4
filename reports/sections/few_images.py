"""What few images change: no calibration images, exact tests, what could have been seen, and what was asked."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder
from leakbench.statistics import EXACT_LEVEL, least_p_value

from ..reading.exact_tests import is_few
from ..reading.family import find_corrected
from ..reading.formatting import format_significant, round_up

TEMPLATE = """\
## Few images

{{ members | counted(unit) }} of members and {{ nonmembers }} of nonmembers are too few to spare any for calibration. So

- scores are read as each attack publishes them (higher: more likely a member), and no attack learns from images whose
  membership is known. The blind baseline learns from the reported images, each time without one member and one
  nonmember, and is judged by which of these two it takes for the member;
- verdicts rest on exact tests, two-sided: the share of all choices of {{ members }} of the {{ members + nonmembers }}
  {{ unit }}s whose AUC, by any attack on the release, is as far from 0.5 (of one {{ unit }}: as high). That is
  {{ least }} at the least. Found is what {{ level }} of the choices or fewer reach. Controls and the blind baseline are
  tested so as well;
- intervals are of all the {{ unit }}s like these that might have been members: of so few they are wide, and may hold
  0.5 where the test is sure of these. The attack that stands at a level is the one whose AUC is the farthest from 0.5;
- {% if detectable %}an AUC of {{ detectable }} would have been found in four of five runs, by all attacks together;
{%- else %}no AUC would have been found: there are too few even for a perfect attack;{% endif %}
 "no leak found" says nothing of smaller ones.

{% if grouped %}
Whose images they are was told, so the test asks by person: did this person's images score as the images of others do?
Of one person among g others p is 1 / (1 + g) at the least, the person's rank.
{% else %}
It asks by image: were these images used, rather than others like them? Where the members are all of one subject
(a person, a product), the nonmembers have to be other photographs of that subject: among photographs of others an
attack finds the subject, and cannot tell these images from it. To ask by person, say whose each image is
(`--groups`, `--group-by`): of one person among g others p is then 1 / (1 + g) at the least, the person's rank.
{% endif %}
{% if base %}

The base of the fine-tune is the null: the calibrated attacks compare the model with it image by image, and what the
others find on the base itself (the control `base`) is no leak of the fine-tune.
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The numbers of the exact tests; None where no record is of few images."""
    few = [record for record in run.records if is_few(record) and record.access != "NONE"]
    tests = [one.auc.exact for record in few if (one := find_corrected(run, record)) and one.auc.exact]
    if not tests:
        return None
    seen = [test.detectable for test in tests if test.detectable is not None]
    first = tests[0]
    return {
        **{"members": first.members, "nonmembers": first.nonmembers, "grouped": first.grouped},
        **{"unit": "group" if first.grouped else "image", "level": f"{EXACT_LEVEL:g}"},
        "least": format_significant(least_p_value(first.members, first.nonmembers), 2),
        "detectable": round_up(max(seen)) if len(seen) == len(tests) else "",
        "base": any(point.defense == "base" for point in run.plan.points),
    }
