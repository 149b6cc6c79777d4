"""A view offers what its access level permits and nothing more; answers are shared, queries are not."""

import numpy as np
import pytest
import torch

from leakbench.api import Access, Release
from leakbench.api.answer_cache import AnswerCache, QueriedRelease
from leakbench.api.views import VIEWS
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng

SHAPE, N = (1, 4, 4), 5
STREAMS = Rng("test", 0)
IMAGES = torch.tanh(STREAMS.of("images").normal(torch.arange(N), SHAPE))
SAMPLES = torch.tanh(STREAMS.of("samples").normal(torch.arange(7), SHAPE))
LABELS = torch.arange(N) % 3


class Counting(torch.nn.Module):
    """eps = tanh(x + t / 1000 + label / 10), counting its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.spec = NetworkSpec(kind="mlp", shape=SHAPE)  # unconditional

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        self.calls.append(int(t[0]))
        assert t.shape == (len(x),)
        shift = 0.0 if label is None else label.view(-1, 1, 1, 1) / 10
        return torch.tanh(x + t.view(-1, 1, 1, 1) / 1000 + shift)


class Guided(Release):
    """A service whose answer is not the raw network's."""

    def eps(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return super().eps(x, t, label) + 1.0


def batch(
    kind: type[Release] = Release, labels: torch.Tensor | None = None, clip: bool = False, **more
) -> tuple[Counting, AnswerCache]:
    network = Counting()
    release = kind(
        network, Schedule(steps=10, clip=clip), STREAMS, SHAPE, torch.device("cpu"), parts={"secret": 1}, **more
    )
    return network, AnswerCache(
        QueriedRelease(release, lambda: SAMPLES), STREAMS, IMAGES, torch.arange(100, 100 + N), labels
    )


OFFERED = {  # design.md, section 4; each level adds to the one below
    Access.NONE: {"queries", "ids", "stream", "captions"},
    Access.SAMPLES: {"samples", "others"},
    Access.API: {"sample", "sample_each", "vary", "inpaint", "conditions"},
    Access.DENOISER: {
        *("eps", "schedule", "ddim", "memoize", "labels", "noise", "noised", "noise_to", "pixels", "encode"),
        *("tells_captions", "no_labels", "other_labels", "edited_labels"),
    },
    Access.WEIGHTS: {"network", "parts", "release"},
}


@pytest.mark.parametrize("access", list(Access))
def test_each_level_offers_its_own_and_nothing_more(access):
    view = VIEWS[access](batch()[1])
    allowed = set().union(*(OFFERED[level] for level in Access if level <= access))
    assert {name for name in dir(view) if not name.startswith("_")} == allowed
    for level in Access:
        for name in OFFERED[level] - allowed:
            with pytest.raises(AttributeError):
                getattr(view, name)


def test_what_is_offered_is_the_releases_own():
    network, memory = batch()
    view = VIEWS[Access.WEIGHTS](memory)
    assert torch.equal(view.samples, SAMPLES) and view.network is network and view.parts == {"secret": 1}
    assert view.release is memory.release and view.schedule is memory.release.schedule


@pytest.mark.parametrize("access", [Access.SAMPLES, Access.DENOISER])
def test_a_needed_release_is_seen_at_the_attacks_own_level_and_its_answers_are_remembered(access):
    inside = torch.arange(N) < 2
    network, other = batch()
    views = [VIEWS[access](batch()[1], others={"shadow": (other, inside)}) for _ in range(2)]
    assert list(views[0].others) == ["shadow"] and len(views[0].others) == 1
    seen = [view.others["shadow"] for view in views]
    assert type(seen[0].view) is VIEWS[access] and seen[0].is_member is inside
    if access is Access.DENOISER:
        assert torch.equal(seen[0].view.eps(seen[0].view.noised(9), 9), seen[1].view.eps(seen[1].view.noised(9), 9))
        assert network.calls == [9] and views[0].queries == 0  # the service under attack was not asked


def test_two_attacks_share_an_answer_but_count_their_own_queries():
    network, memory = batch()
    first, second = (VIEWS[Access.DENOISER](memory) for _ in range(2))
    answers = [first.eps(first.noised(100), 100), second.eps(second.noised(100), 100), second.eps(IMAGES, 0)]
    assert torch.equal(answers[0], answers[1]) and network.calls == [100, 0]
    assert (first.queries, second.queries) == (1, 2)
    second.eps(IMAGES, 0)
    first.eps(IMAGES, 1)
    first.eps(first.noised(100, 1), 100)
    assert network.calls == [100, 0, 1, 100] and (first.queries, second.queries) == (3, 3)


def test_an_answer_is_not_reused_for_another_tensor_or_after_a_change_in_place():
    network, memory = batch()
    view = VIEWS[Access.DENOISER](memory)
    x = IMAGES.clone()
    before = view.eps(x, 5)
    x += 1
    after = view.eps(x, 5)
    torch.testing.assert_close(after, torch.tanh(IMAGES + 1.005))
    assert not torch.equal(before, after) and len(network.calls) == 2
    for i in range(50):  # short-lived tensors must not be confused when memory is used again
        made = torch.full_like(IMAGES, i / 50)
        torch.testing.assert_close(view.eps(made, 0), torch.tanh(torch.full_like(IMAGES, i / 50)))


def test_noised_is_the_formula_with_the_shared_noise():
    _, memory = batch()
    view = VIEWS[Access.DENOISER](memory)
    for t, draw in ((0, 0), (100, 0), (999, 1)):
        noise = STREAMS.of("attacking", "forward").normal(torch.arange(100, 100 + N), SHAPE, draw)
        assert torch.equal(view.noise(draw), noise)
        alpha_bar = np.prod(1 - np.linspace(1e-4, 0.02, 1000)[: t + 1])
        expected = np.sqrt(alpha_bar) * IMAGES + np.sqrt(1 - alpha_bar) * noise
        torch.testing.assert_close(view.noised(t, draw), expected.float(), atol=1e-6, rtol=1e-5)


def test_noise_belongs_to_the_image_not_to_its_place_in_the_batch():
    _, memory = batch()
    turned = AnswerCache(memory.source, STREAMS, IMAGES.flip(0), memory.ids.flip(0), None)
    assert torch.equal(turned.noised(50, 0).flip(0), memory.noised(50, 0))
    assert not torch.equal(memory.noise("forward", 0), memory.noise("vary", 0))


def test_a_guided_service_answers_otherwise_than_its_raw_network():
    network, memory = batch(Guided)
    service, raw = (VIEWS[Access.DENOISER](memory, raw) for raw in (False, True))
    torch.testing.assert_close(service.eps(IMAGES, 3), raw.eps(IMAGES, 3) + 1.0)
    assert network.calls == [3, 3]


def test_where_the_service_is_the_raw_network_one_call_serves_both():
    network, memory = batch()
    service, raw = (VIEWS[Access.DENOISER](memory, raw) for raw in (False, True))
    assert torch.equal(service.eps(IMAGES, 3), raw.eps(IMAGES, 3)) and network.calls == [3]


def test_a_release_over_a_guided_one_still_answers_guided():
    network, memory = batch(Guided)
    above = Release.wrap(memory.release)
    assert not above.eps_is_raw and batch()[1].release.eps_is_raw
    t = torch.full((N,), 3)
    torch.testing.assert_close(above.eps(IMAGES, t), network(IMAGES, t) + 1.0)
    assert torch.equal(above.raw_eps(IMAGES, t), network(IMAGES, t))


def test_the_images_own_labels_are_asked_about_unless_others_are_given():
    _, memory = batch(labels=LABELS)
    view = VIEWS[Access.DENOISER](memory)
    torch.testing.assert_close(view.eps(IMAGES, 0), torch.tanh(IMAGES + LABELS.view(-1, 1, 1, 1) / 10))
    torch.testing.assert_close(view.eps(IMAGES, 0, 0 * LABELS), torch.tanh(IMAGES))


def test_ddim_is_one_query_and_the_formula():
    network, memory = batch()
    view = VIEWS[Access.DENOISER](memory)
    moved = view.ddim(IMAGES, 10, 40)
    clipping = VIEWS[Access.DENOISER](batch(clip=True)[1])
    assert torch.equal(clipping.ddim(IMAGES, 10, 40), moved)  # an attack's own moves are never clipped
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    eps = torch.tanh(IMAGES + 0.01)
    x0 = (IMAGES - np.sqrt(1 - alpha_bar[10]) * eps) / np.sqrt(alpha_bar[10])
    torch.testing.assert_close(moved, (np.sqrt(alpha_bar[40]) * x0 + np.sqrt(1 - alpha_bar[40]) * eps).float())
    assert view.queries == 1 and network.calls == [10]


@pytest.mark.parametrize("strength", [0.0, 0.04, 0.05, 0.29, 0.31, 0.58, 1.0])
def test_variation_counts_the_network_calls_it_makes(strength):
    network, memory = batch(network_calls=2.0)
    view = VIEWS[Access.API](memory)
    varied = view.vary(IMAGES, strength)
    assert varied.shape == IMAGES.shape and view.queries == len(network.calls)


def test_further_samples_are_new_numbers_of_the_same_service():
    _, memory = batch()
    view = VIEWS[Access.API](memory)
    more = view.sample(3)
    ids = torch.arange(len(SAMPLES), len(SAMPLES) + 3)
    torch.testing.assert_close(more, memory.release.generate(ids))
    assert view.queries == 3 * len(memory.release.schedule.timesteps()) / N


def test_an_attacks_own_stream_is_not_the_shared_noise():
    view = VIEWS[Access.NONE](batch()[1])
    own = view.stream("crops").normal(view.ids, SHAPE)
    assert torch.equal(own, view.stream("crops").normal(view.ids, SHAPE))
    assert not torch.equal(own, VIEWS[Access.DENOISER](batch()[1]).noise())


def test_variation_answers_as_the_service_does():
    service, plain = batch(Guided)[1], batch()[1]
    varied, other = (VIEWS[Access.API](memory).vary(IMAGES, 0.3) for memory in (service, plain))
    assert not torch.allclose(varied, other, atol=1e-3)


def test_whoever_holds_the_weights_varies_and_samples_unguarded():
    guarded, plain = batch(Guided)[1], batch()[1]
    raw, own = VIEWS[Access.DENOISER](guarded, raw=True), VIEWS[Access.DENOISER](plain)
    assert torch.equal(raw.vary(IMAGES, 0.3), own.vary(IMAGES, 0.3))
    assert torch.equal(raw.sample(3), own.sample(3))
    assert not torch.equal(VIEWS[Access.DENOISER](guarded).sample(3), own.sample(3))


@pytest.mark.parametrize("of", ["noise", "noised", "eps"])
def test_writing_to_what_all_share_is_noticed(of):
    _, memory = batch()
    view = VIEWS[Access.DENOISER](memory)
    shared = {"noise": lambda: view.noise(), "noised": lambda: view.noised(9), "eps": lambda: view.eps(IMAGES, 9)}[of]()
    assert memory.untouched
    shared.mul_(0)
    assert not memory.untouched


def test_a_conditional_service_draws_its_own_labels():
    """Uniform labels from the sampling stream: the same for every defense, and further samples are possible."""
    spec = NetworkSpec(kind="mlp", shape=(1, 4, 4), width=8, blocks=1, conditions=3)
    network = networks.build(spec, STREAMS.of("weights"))
    release = Release(network, Schedule(steps=2), STREAMS, spec.shape, torch.device("cpu"), batch=8)
    labels = STREAMS.of("sampling", "labels").integers(torch.arange(5), 3)
    assert torch.equal(release.sample(5), release.sample(5, labels))
    assert torch.equal(release.sample(2, first=3), release.sample(2, labels[3:], first=3))
    assert len(labels.unique()) > 1


def test_attacks_that_walk_the_same_path_share_it():
    """Noise of an attack's own and DDIM steps are one tensor for all, so the answers that follow are shared too."""
    network, memory = batch()
    for _ in range(2):
        view = VIEWS[Access.DENOISER](memory)
        e0 = view.eps(IMAGES, 0)
        view.eps(view.noise_to(200, e0), 200)
        view.ddim(view.ddim(IMAGES, 0, 10), 10, 20)
    assert network.calls == [0, 200, 10] and view.queries == 4 and memory.calls == 3
    expected = np.sqrt(memory.release.schedule.alpha_bar[200]) * IMAGES
    expected = expected + np.sqrt(1 - memory.release.schedule.alpha_bar[200]) * e0
    torch.testing.assert_close(view.noise_to(200, e0), expected.float())


def test_what_one_attack_made_of_an_answer_is_the_same_tensor_for_all():
    network, memory = batch()
    for kind in (torch.neg, torch.zeros_like):  # the second one's own making is not asked for
        view = VIEWS[Access.DENOISER](memory)
        e0 = view.eps(IMAGES, 0)
        made = view.memoize("minus", e0, lambda kind=kind, e0=e0: kind(e0))
        view.eps(made, 5)
        assert torch.equal(made, -e0)
    assert network.calls == [0, 5]
    assert torch.equal(view.memoize("other", e0, lambda: 2 * e0), 2 * e0)


def test_calls_that_are_not_shared_are_not_counted_and_a_repeat_asks_anew():
    network, memory = batch()
    VIEWS[Access.DENOISER](memory, shares=False).eps(IMAGES, 3)
    assert network.calls == [3] and memory.calls == 0
    view = VIEWS[Access.DENOISER](memory)
    for repeat in (0, 1, 1, 2):
        view.eps(IMAGES, 7, repeat=repeat)
    assert network.calls == [3, 7, 7, 7] and memory.calls == 3 and view.queries == 4


def test_memory_is_bounded_and_what_was_forgotten_is_made_again():
    network, memory = batch()
    memory.limit = 4 * IMAGES.numel() * IMAGES.element_size()
    view = VIEWS[Access.DENOISER](memory)
    first = view.eps(IMAGES, 0).clone()
    for t in range(1, 20):
        view.eps(IMAGES, t)
        assert len(memory._held) <= 4
    assert network.calls == list(range(20))
    assert torch.equal(view.eps(IMAGES, 0), first) and network.calls[-1] == 0
    memory.settled()
    assert memory.untouched and len(memory._handed_out) <= 5


@pytest.mark.parametrize("clip", [False, True])
def test_completion_keeps_what_is_known_and_walks_as_the_service_does(clip):
    _, memory = batch(Guided, clip=clip)
    view = VIEWS[Access.API](memory)
    mask = torch.zeros(SHAPE[1:], dtype=torch.bool)
    mask[:2] = True
    found = view.inpaint(IMAGES, mask, draw=1)
    start, known = (
        STREAMS.of("attacking", f"inpaint {what}").normal(memory.ids, SHAPE, 1) for what in ("start", "known")
    )
    alpha_bar, walk, x = (
        np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)),
        memory.release.schedule.timesteps(),
        start.double(),
    )
    for s, u in zip(walk, [*walk[1:], -1], strict=True):
        noised = np.sqrt(alpha_bar[s]) * IMAGES + np.sqrt(1 - alpha_bar[s]) * known
        x = torch.where(mask, x, noised)
        eps = torch.tanh(x + s / 1000) + 1.0
        x0 = (x - np.sqrt(1 - alpha_bar[s]) * eps) / np.sqrt(alpha_bar[s])
        x0 = x0.clamp(-1, 1) if clip else x0
        after = alpha_bar[u] if u >= 0 else 1.0
        x = np.sqrt(after) * x0 + np.sqrt(1 - after) * eps
    torch.testing.assert_close(found[..., :2, :], x.clamp(-1, 1).float()[..., :2, :], atol=1e-3, rtol=1e-3)
    assert torch.equal(found[..., 2:, :], IMAGES[..., 2:, :]) and view.queries == len(walk)


def test_samples_of_one_label_start_from_equal_noise():
    spec = NetworkSpec(kind="mlp", shape=SHAPE, width=8, blocks=1, conditions=3)
    network = networks.build(spec, STREAMS.of("weights"))
    release = Release(network, Schedule(steps=2), STREAMS, SHAPE, torch.device("cpu"), batch=8)
    memory = AnswerCache(QueriedRelease(release, lambda: SAMPLES), STREAMS, IMAGES, torch.arange(N), LABELS)
    view = VIEWS[Access.API](memory)
    asked = torch.tensor([2, 2, 2])
    assert torch.equal(view.sample(3, label=2, first=4), release.sample(3, asked, first=len(SAMPLES) + 4))
    assert view.conditions == 3


def test_answers_in_inference_mode_are_the_same_tensors_that_gradients_can_use():
    """Inference tensors count no versions, and autograd refuses them: what is shared is made as any other tensor."""
    _, memory = batch()
    view, plain = VIEWS[Access.DENOISER](memory), VIEWS[Access.DENOISER](batch()[1])
    with torch.inference_mode():
        x, eps, step = view.noised(9), view.eps(view.noised(9), 9), view.ddim(view.noised(9), 9, 19)
    assert not any(made.is_inference() for made in (x, eps, step))
    assert torch.equal(eps, plain.eps(plain.noised(9), 9)) and memory.untouched
    weight = torch.ones(1, requires_grad=True)
    (x * weight).sum().backward()
    assert view.eps(x, 9) is eps  # remembered for whoever asks outside


def test_an_inference_tensor_is_asked_about_anew_since_its_changes_cannot_be_seen():
    network, memory = batch()
    view = VIEWS[Access.DENOISER](memory)
    with torch.inference_mode():
        x = IMAGES * 0.5
        first = view.eps(x, 7)
        x.mul_(2.0)
        second = view.eps(x, 7)
    torch.testing.assert_close(second, torch.tanh(IMAGES + 0.007))
    assert not torch.equal(first, second) and network.calls == [7, 7] and view.queries == 2
    torch.testing.assert_close(view.memoize("half", x, lambda: x / 2), IMAGES / 2)


def test_a_network_that_answers_in_inference_mode_can_be_asked():
    class Serving(Counting):
        @torch.inference_mode()
        def forward(self, *inputs):
            return super().forward(*inputs)

    _, memory = batch()
    release = Release(Serving(), Schedule(steps=10), STREAMS, SHAPE, torch.device("cpu"))
    served = AnswerCache(QueriedRelease(release, lambda: SAMPLES), STREAMS, IMAGES, torch.arange(100, 100 + N), None)
    view, plain = VIEWS[Access.DENOISER](served), VIEWS[Access.DENOISER](memory)
    assert torch.equal(view.ddim(view.noised(9), 9, 19), plain.ddim(plain.noised(9), 9, 19))
    assert view.eps(view.noised(9), 9) is view.eps(view.noised(9), 9) and served.untouched


def test_names_of_two_plugins_do_not_collide():
    _, memory = batch()
    view = VIEWS[Access.DENOISER](memory)
    x, modules = view.noised(9), [{"__name__": name} for name in ("one", "another")]
    for module in modules:
        exec("def scaled(view, x, factor):\n    return view.memoize('scaled', x, lambda: x * factor)", module)
    ours, theirs = (module["scaled"] for module in modules)
    assert torch.equal(ours(view, x, 2), x * 2) and torch.equal(theirs(view, x, 3), x * 3)
    assert ours(view, x, 4) is ours(view, x, 5)
