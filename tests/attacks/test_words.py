"""CLiD and the blind baseline of captions: on a pipeline that memorised two captions, and by hand."""

import random

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from leakbench.api import AuditSetting, Release
from leakbench.attacks.membership.blind_captions import BlindCaptions
from leakbench.attacks.membership.clid import CLiD
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng
from leakbench.statistics import auc as auc_with_interval

STREAMS = Rng("words", 0)
CPU = torch.device("cpu")
SHAPE = (1, 4, 4)


def collected(release, attacks, parts):
    """Evidence by name of the attack."""
    asked = {name: AttackRequest(attack, False) for name, attack in attacks.items()}
    return collect_membership_evidence(AttackTarget.of(release, STREAMS), asked, parts)


def auc(inside, outside):
    return float(roc_auc_score([1] * len(inside) + [0] * len(outside), np.concatenate([inside, outside])))


@pytest.fixture(scope="module")
def planted(planted_release, planted_home):
    """Evidence and queries on a pipeline that was trained on two captions until they return their images."""
    release, parts = planted_release
    attacks = {"null": CLiD(), "clipped": CLiD(reduced="clipped"), "other": CLiD(captions="other")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(planted_home / "cache"))
        return collected(release, attacks, parts)


@pytest.mark.parametrize("attack", ["null", "clipped"])
def test_a_planted_caption_is_found_and_null_prompts_are_not(planted, attack):
    found = planted[0][attack]
    assert auc(found.member_scores, found.nonmember_scores) > 0.95
    between = auc_with_interval(found.nonmember_scores, found.calibration_nonmember_scores, level=0.99)
    assert between.low < 0.5 < between.high


def test_under_others_captions_less_is_found(planted):
    own, other = (auc(planted[0][name].member_scores, planted[0][name].nonmember_scores) for name in ("null", "other"))
    assert other < own - 0.1


def test_calls_are_those_of_the_paper(planted):
    assert planted[1] == {"null": 6, "clipped": 15, "other": 6}


class Classes(torch.nn.Module):
    """Answers with x and a number for each class, and 0.5 without one; or with x alone."""

    def __init__(self, conditions: int, numbers=None, knows_none: bool = False) -> None:
        super().__init__()
        self.spec, self.knows_none = NetworkSpec(kind="mlp", shape=SHAPE, conditions=conditions), knows_none
        self.numbers = numbers

    def forward(self, x, t, label=None):
        if self.numbers is None:
            return x
        told = torch.where(label < 0, 0.5, torch.tensor(self.numbers)[label])
        return x + told.view(-1, 1, 1, 1)


def of_classes(network, attack):
    release = Release(network, Schedule(), STREAMS, SHAPE, CPU, batch=16)
    ids = torch.arange(60)
    images = Images(STREAMS.of("images").normal(ids, SHAPE), ids, ids % network.spec.conditions)
    rows = torch.arange(60).split(12)
    names = ("member", "nonmember", "calibration_in", "calibration_out", "reference")
    parts = {name: images.take(some) for name, some in zip(names, rows, strict=True)}
    found, queries = collected(release, {"": attack}, parts)
    return found[""].member_scores, queries[""], parts["member"]


def test_where_the_condition_changes_nothing_clid_is_the_loss():
    """D = 0: what is left is (1 - alpha) R(L), so alpha changes no ranking."""
    rankings = [np.argsort(of_classes(Classes(3), CLiD(alpha=alpha))[0]) for alpha in (0.0, 0.9)]
    assert np.array_equal(*rankings)


@pytest.mark.parametrize("knows_none", [True, False])
def test_the_discrepancy_of_classes_by_hand(knows_none):
    """|| r + b ||^2 - || r + a ||^2, with r the error without condition: b of none, or the mean over other classes."""
    numbers = [0.0, 0.2, -0.3]
    attack = CLiD(timesteps=(300,), alpha=1.0)
    scores, calls, members = of_classes(Classes(3, numbers, knows_none), attack)
    assert calls == (2 if knows_none else 3)

    def wanted(loss):
        every = torch.stack([loss(torch.full((12,), number)) for number in [*numbers, 0.5]])
        own = every[members.labels, torch.arange(12)]
        return (every[3] if knows_none else (every[:3].sum(0) - own) / 2) - own

    by_hand(scores, members, wanted)


def by_hand(scores, members, wanted):
    """Compare scores with wanted(loss), up to what R moves and stretches; loss(number) (12,): with that number added to
    the error."""
    noise = STREAMS.of("attacking", "forward").normal(members.ids, SHAPE, 0)
    level = float(Schedule().alpha_bar[300])
    rest = level**0.5 * members.images[:] + (1 - level) ** 0.5 * noise - noise
    known = wanted(lambda number: (rest + number.view(-1, 1, 1, 1)).square().flatten(1).sum(1)).numpy()
    line = np.polyfit(known, scores, 1)
    assert np.allclose(np.polyval(line, known), scores, atol=1e-3) and line[0] > 0


def others_of_three(members):
    """The first and the second of the two labels that are not an image's own, in the order in which they are drawn."""
    step = STREAMS.of("attacking", "other labels").integers(members.ids, 2)
    return [(members.labels + 1 + (step + draw) % 2) % 3 for draw in range(2)]


def test_the_control_compares_another_class_with_the_rest():
    """Not with itself: without a class of none others stand for it, but not the one that is asked about."""
    numbers = torch.tensor([0.0, 0.2, -0.3])
    attack = CLiD(timesteps=(300,), alpha=1.0, captions="other")
    scores, calls, members = of_classes(Classes(3, numbers.tolist()), attack)
    told, rest = others_of_three(members)
    assert calls == 2
    by_hand(scores, members, lambda loss: loss(numbers[rest]) - loss(numbers[told]))


class Lengths(torch.nn.Module):
    """Answers with x and a tenth of the length of the caption, and 0.5 without one."""

    knows_none = True

    def __init__(self, texts) -> None:
        super().__init__()
        self.spec, self.texts, self.known = NetworkSpec(kind="mlp", shape=SHAPE, conditions=len(texts)), texts, [*texts]

    def label_edited(self, labels, edit):
        texts = [edit(self.known[label]) for label in labels]
        self.known += [text for text in dict.fromkeys(texts) if text not in self.known]
        return [self.known.index(text) for text in texts]

    def forward(self, x, t, label=None):
        lengths = torch.tensor([0.1 * len(text) for text in self.known])
        return x + torch.where(label < 0, 0.5, lengths[label]).view(-1, 1, 1, 1)


@pytest.mark.parametrize("captions", ["own", "other"])
def test_the_thirds_are_those_of_the_caption_that_is_asked_under(captions):
    attack = CLiD(timesteps=(300,), alpha=1.0, captions=captions, reduced="clipped")
    scores, calls, members = of_classes(Lengths(("a", "bbbb", "c" * 11)), attack)
    told = members.labels if captions == "own" else others_of_three(members)[0]
    thirds = torch.tensor([[0.0, 0.0, 0.1], [0.1, 0.1, 0.2], [0.3, 0.4, 0.4]])[told]

    def wanted(loss):
        reduced = [loss(torch.full((12,), 0.5)), *(loss(third) for third in thirds.T)]
        return torch.stack(reduced).mean(0) - loss(torch.tensor([0.1, 0.4, 1.1])[told])

    assert calls == 5
    by_hand(scores, members, wanted)


def test_other_labels_are_none_of_the_images_own():
    network = Classes(4, [0.0, 1.0, 2.0, 3.0])
    seen = []

    class Asking(CLiD):
        def score(self, view, images, labels):
            others = [view.other_labels(draw) for draw in range(3)]
            seen.append(torch.stack([labels, *others]))
            assert (
                view.no_labels is None and not view.tells_captions and view.captions == tuple(map(str, labels.tolist()))
            )
            return images.flatten(1).sum(1)

    of_classes(network, Asking())
    assert all(sorted(column) == [0, 1, 2, 3] for batch in seen for column in batch.T.tolist())


class Captioned(Classes):
    """Captions that the network never hears."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(len(texts))
        self.texts = tuple(texts)

    def forward(self, *_):
        raise AssertionError("the blind baseline asked the network")


@pytest.mark.parametrize("shifted", [False, True])
def test_the_blind_baseline_reads_a_shift_of_captions_and_nothing_else(shifted):
    draw = random.Random(1)
    nouns, places = ("cat", "dog", "house", "tree", "boat"), ("at night", "by the sea", "in snow", "in a town")
    member = [True] * 100 + [False] * 100 + [True] * 100 + [False] * 100
    texts = [f"a {'photo' if shifted and known else 'picture'} of a {draw.choice(nouns)}" for known in member]
    texts = [f"{text} {draw.choice(places)}" for text in texts]
    release = Release(Captioned(texts), Schedule(), STREAMS, SHAPE, CPU, batch=64)
    ids = torch.arange(400)
    images = Images(torch.zeros(400, *SHAPE), ids, ids)
    names = ("member", "nonmember", "calibration_in", "calibration_out")
    parts = {name: images.take(some) for name, some in zip(names, ids.split(100), strict=True)}
    found, queries = collected(release, {"": BlindCaptions()}, parts)
    value = auc(found[""].member_scores, found[""].nonmember_scores)
    assert queries[""] == 0 and (value > 0.99 if shifted else abs(value - 0.5) < 0.13)  # 3.2 standard errors


@pytest.mark.parametrize("attack", [CLiD, BlindCaptions])
def test_a_model_that_is_told_nothing_has_no_words(attack):
    found = attack().skip(AuditSetting((), "none", "nothing", 1000, 40))
    assert found.severity == "not-applicable" and "neither captions nor labels" in found.reason
    assert attack().skip(AuditSetting((), "label", "nothing", 1000, 40)) is None
