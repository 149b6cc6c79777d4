"""Noise in a service's answers: a function of the question alone, normal, and new where the question is asked again."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import stats

from leakbench.api import Access, Release
from leakbench.api.answer_cache import AnswerCache, QueriedRelease
from leakbench.api.views import VIEWS
from leakbench.data.image_batch import Images
from leakbench.measurement.membership import randomised
from leakbench.models.diffusion import full_timesteps
from leakbench.runtime.device import Rng, row_digest
from leakbench.testing.toys import SHAPE, toy_images, toy_release, toy_rng


@dataclass(frozen=True)
class NoisyRelease(Release):
    """Adds noise to every answer."""

    def eps(self, x, t, label=None):
        return super().eps(x, t, label) + self.answer_noise(x, t, label)


X = toy_images(40, "questions")
T = torch.arange(40) * 20


@pytest.fixture(scope="module")
def release():
    return NoisyRelease.wrap(toy_release())


def test_a_row_gets_the_same_noise_alone_and_in_any_company_and_order(release):
    together = release.answer_noise(X, T)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(release.answer_noise(X[order], T[order]), together[order])
    for row in (0, 7, 39):
        assert torch.equal(release.answer_noise(X[row : row + 1], T[row : row + 1])[0], together[row])
    assert torch.equal(release.answer_noise(X.to(memory_format=torch.channels_last), T), together)


def test_whatever_differs_in_the_question_gets_fresh_noise(release):
    x, t, label = X[:1].expand(5, *SHAPE).clone(), torch.full((5,), 100), torch.zeros(5, dtype=torch.int64)
    x[1, 0, 3, 3] = torch.nextafter(x[1, 0, 3, 3], torch.tensor(2.0))  # one unit in the last place
    t[2], label[3] = 101, 1
    first, nudged, later, other, again = release.answer_noise(x, t, label)
    assert torch.equal(first, again)
    others = [
        nudged,
        later,
        other,
        release.answer_noise(x, t)[0],
        release.answer_noise(x, t, label, "second purpose")[0],
        Release.with_repeat(release, 1).answer_noise(x, t, label)[0],
        replace(release, streams=Rng("conformance", 1)).answer_noise(x, t, label)[0],
        NoisyRelease.wrap(release).answer_noise(x, t, label)[0],
        toy_release().answer_noise(x, t, label)[0],
    ]
    for one in others:
        assert bool((one != first).all())


def test_the_noise_is_standard_normal_and_rows_are_uncorrelated(release):
    x = toy_images(1, "one").expand(4000, *SHAPE).clone()
    x[:, 0, 0, 0] += torch.arange(4000) * 1e-6  # questions that hardly differ
    noise = release.answer_noise(x, torch.full((4000,), 500)).double().flatten(1)
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
    n = noise.numel()
    assert abs(float(noise.mean())) < 4 / n**0.5
    assert abs(float(noise.var()) - 1) < 4 * (2 / n) ** 0.5
    assert abs(float(noise.pow(4).mean()) - 3) < 4 * (96 / n) ** 0.5
    assert abs(float((noise[1:] * noise[:-1]).mean())) < 4 / n**0.5


def test_the_digest_is_the_published_sum_modulo_two_to_the_64():
    """Against Python's own integers."""
    stream, rows, number = toy_rng().of("digest"), X[:3].flatten(1), torch.tensor([5, -1, 2**32 + 7])
    found = row_digest(stream, X[:3], number)
    words = [[int(w) for w in row] for row in rows.numpy().view(np.uint32)]
    halves = stream.words(torch.arange(6), rows.shape[1] + 3).tolist()
    for row, (bits, extra) in enumerate(zip(words, (5, 2**32 - 1, 7), strict=True)):
        for place in range(3):
            keys = [high << 32 | low for high, low in zip(halves[2 * place], halves[2 * place + 1], strict=True)]
            total = keys[0] + sum(word * key for word, key in zip([*bits, extra, 1], keys[1:], strict=True))
            assert int(found[row, place]) == (total % 2**64) >> 32


def test_no_two_of_many_questions_share_a_digest():
    x = torch.zeros(20_000, 4)
    x.view(torch.int32)[:, 1] = torch.arange(20_000, dtype=torch.int32)
    digests = row_digest(toy_rng().of("digest"), x)
    assert len(np.unique(digests.numpy(), axis=0)) == 20_000
    assert bool((digests >= 0).all()) and bool((digests < 2**32).all())


def test_a_view_that_asks_again_gets_another_draw_and_may_average_it(release):
    memory = AnswerCache(QueriedRelease(release, lambda: X[:0]), toy_rng(), X, torch.arange(40), None)
    view = VIEWS[Access.DENOISER](memory)
    answers = [view.eps(X, 300, repeat=repeat) for repeat in range(64)]
    assert torch.equal(view.eps(X, 300, repeat=3), answers[3])
    truth = release.raw_eps(X, full_timesteps(300, X))
    error = torch.stack([(torch.stack(answers[:n]).mean(0) - truth).square().mean() for n in (1, 64)])
    assert float(error[0]) == pytest.approx(1, abs=0.1) and float(error[1]) == pytest.approx(1 / 64, rel=0.1)
    raw = VIEWS[Access.DENOISER](memory, raw=True)
    assert torch.equal(raw.eps(X, 300, repeat=1), truth)


def test_a_release_that_stands_on_a_noisy_one_asks_it_anew_as_well(release):
    above = Release.wrap(release)
    t = full_timesteps(300, X)
    assert torch.equal(above.eps(X, t), release.eps(X, t))
    assert not torch.equal(Release.with_repeat(above, 1).eps(X, t), above.eps(X, t))


def test_such_answers_count_as_randomised(release):
    asked = Images(X, torch.arange(40), None)
    assert randomised(release, asked) and not randomised(toy_release(), asked)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_noise_is_the_same_on_cuda(release):
    cuda = release.answer_noise(X.cuda(), T.cuda())
    torch.testing.assert_close(cuda.cpu(), release.answer_noise(X, T), rtol=3e-7, atol=3e-7)
