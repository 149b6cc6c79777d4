"""State dicts of OpenAI's and of the DDIM authors' U-Nets answer as those networks do, which are built here by the
facts of their papers and repositories: one small module each, with their names of weights."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from leakbench.defenses.pipeline import Pipeline
from leakbench.models.pretrained.build import build
from leakbench.runtime.cache.keys import digest_files
from leakbench.runtime.errors import UsageError

SIDE = 8
BASE = {
    "image_size": SIDE,
    "num_channels": 32,
    "channel_mult": "1,2",
    "num_res_blocks": 1,
    "attention_resolutions": "4",
}
FLAGS = {
    "guided, legacy order": BASE | {"num_head_channels": 16, "learn_sigma": True, "resblock_updown": True},
    "guided, new order": BASE | {"num_head_channels": 16, "use_new_attention_order": True, "class_cond": True},
    "attention at every size": BASE | {"attention_resolutions": "8,4", "num_heads": 1, "resblock_updown": True},
    "improved, 4,000 steps": BASE
    | {"num_heads": 4, "use_scale_shift_norm": False, "diffusion_steps": 4000, "rescale_timesteps": True}
    | {"noise_schedule": "cosine", "channel_mult": [1, 1, 2], "attention_resolutions": "2"},
}
YAML = """
data: {image_size: 8, channels: 3, rescaled: true, logit_transform: false}
model: {type: simple, in_channels: 3, out_ch: 3, ch: 32, ch_mult: [1, 2, 2], num_res_blocks: 1, attn_resolutions: [4, ],
        dropout: 0.1, ema: true, resamp_with_conv: true}
diffusion: {beta_schedule: linear, beta_start: 0.0001, beta_end: 0.02, num_diffusion_timesteps: 1000}
"""


def waves(t, width, sine_first):
    """Of DDPM where sines come first (divided by half less one), else of OpenAI."""
    half = width // 2
    rates = torch.exp(-math.log(1e4) * torch.arange(half) / (half - 1 if sine_first else half))
    phase = t[:, None].float() * rates
    return torch.cat([phase.sin(), phase.cos()] if sine_first else [phase.cos(), phase.sin()], dim=1)


class Open(nn.Module):
    """OpenAI's U-Net, in which every block is a list of layers that its names number."""

    def __init__(self, channels, widths, layers, attends, updown, shift, classes, learned, heads_of, by_kind):
        super().__init__()
        self.shift, self.heads_of, self.by_kind, time = shift, heads_of, by_kind, 4 * widths[0]
        self.time_embed = nn.Sequential(nn.Linear(widths[0], time), nn.SiLU(), nn.Linear(time, time))
        self.label_emb = nn.Embedding(1000, time) if classes else None
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(channels, widths[0], 3, padding=1)])])
        now, kept = widths[0], [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(layers):
                self.input_blocks.append(nn.ModuleList([self.block(now, width, time)]))
                if attends[level]:
                    self.input_blocks[-1].append(self.attention(width))
                now = width
                kept.append(now)
            if level < len(widths) - 1:
                down = (
                    self.block(now, now, time, "down")
                    if updown
                    else nn.ModuleDict({"op": nn.Conv2d(now, now, 3, 2, 1)})
                )
                self.input_blocks.append(nn.ModuleList([down]))
                kept.append(now)
        self.middle_block = nn.ModuleList([self.block(now, now, time), self.attention(now), self.block(now, now, time)])
        self.output_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for layer in range(layers + 1):
                self.output_blocks.append(nn.ModuleList([self.block(now + kept.pop(), width, time)]))
                now = width
                if attends[level]:
                    self.output_blocks[-1].append(self.attention(width))
                if level and layer == layers:
                    up = (
                        self.block(now, now, time, "up")
                        if updown
                        else nn.ModuleDict({"conv": nn.Conv2d(now, now, 3, 1, 1)})
                    )
                    self.output_blocks[-1].append(up)
        ends = channels * (2 if learned else 1)
        self.out = nn.Sequential(nn.GroupNorm(32, now), nn.SiLU(), nn.Conv2d(now, ends, 3, padding=1))

    def block(self, given, width, time, way=""):
        parts = {
            "in_layers": nn.Sequential(nn.GroupNorm(32, given), nn.SiLU(), nn.Conv2d(given, width, 3, padding=1)),
            "emb_layers": nn.Sequential(nn.SiLU(), nn.Linear(time, width * (2 if self.shift else 1))),
            "out_layers": nn.Sequential(
                nn.GroupNorm(32, width), nn.SiLU(), nn.Dropout(0), nn.Conv2d(width, width, 3, padding=1)
            ),
        }
        if given != width:
            parts["skip_connection"] = nn.Conv2d(given, width, 1)
        found = nn.ModuleDict(parts)
        found.way = way
        return found

    @staticmethod
    def attention(width):
        parts = {"norm": nn.GroupNorm(32, width), "qkv": nn.Conv1d(width, 3 * width, 1)}
        return nn.ModuleDict(parts | {"proj_out": nn.Conv1d(width, width, 1)})

    def run(self, layer, x, emb):
        if isinstance(layer, nn.Conv2d):
            return layer(x)
        if "op" in layer:
            return layer["op"](x)
        if "conv" in layer:
            return layer["conv"](F.interpolate(x, scale_factor=2))
        if "qkv" in layer:
            return self.attend(layer, x)
        norm, act, conv = layer["in_layers"]
        h = act(norm(x))
        if layer.way:
            bend = (
                (lambda one: F.avg_pool2d(one, 2))
                if layer.way == "down"
                else lambda one: F.interpolate(one, scale_factor=2)
            )
            h, x = bend(h), bend(x)
        h = conv(h)
        told = layer["emb_layers"](emb)[:, :, None, None]
        norm, rest = layer["out_layers"][0], layer["out_layers"][1:]
        if self.shift:
            scale, add = told.chunk(2, dim=1)
            h = rest(norm(h) * (1 + scale) + add)
        else:
            h = rest(norm(h + told))
        return (layer["skip_connection"](x) if "skip_connection" in layer else x) + h

    def attend(self, layer, x):
        count, width, height, side = x.shape
        flat = x.flatten(2)
        heads = self.heads_of(width)
        qkv = layer["qkv"](layer["norm"](flat))
        if self.by_kind:
            q, k, v = (part.reshape(count, heads, -1, height * side) for part in qkv.chunk(3, dim=1))
        else:
            q, k, v = qkv.reshape(count, heads, -1, height * side).chunk(3, dim=2)
        weights = torch.einsum("bhct,bhcs->bhts", q, k).div(q.shape[2] ** 0.5).softmax(-1)
        found = torch.einsum("bhts,bhcs->bhct", weights, v).reshape(count, width, -1)
        return (flat + layer["proj_out"](found)).view_as(x)

    def forward(self, x, t, label=None):
        emb = self.time_embed(waves(t, self.time_embed[0].in_features, False))
        emb = emb if label is None else emb + self.label_emb(label)
        kept = []
        for layers in self.input_blocks:
            for layer in layers:
                x = self.run(layer, x, emb)
            kept.append(x)
        for layer in self.middle_block:
            x = self.run(layer, x, emb)
        for layers in self.output_blocks:
            x = torch.cat([x, kept.pop()], dim=1)
            for layer in layers:
                x = self.run(layer, x, emb)
        return self.out(x)


class Ddim(nn.Module):
    """The DDIM authors' U-Net, by levels."""

    def __init__(self, channels=3, widths=(32, 64, 64), layers=1, attends=(False, True, False)):
        super().__init__()
        time = 4 * widths[0]
        self.temb = nn.ModuleDict({"dense": nn.ModuleList([nn.Linear(widths[0], time), nn.Linear(time, time)])})
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down, self.up, now, kept = nn.ModuleList(), nn.ModuleList(), widths[0], [widths[0]]
        for level, width in enumerate(widths):
            one = {"block": nn.ModuleList(), "attn": nn.ModuleList()}
            for _ in range(layers):
                one["block"].append(self.block(now, width, time))
                now = width
                kept.append(now)
                if attends[level]:
                    one["attn"].append(self.attention(now))
            if level < len(widths) - 1:
                one["downsample"] = nn.ModuleDict({"conv": nn.Conv2d(now, now, 3, 2, 0)})
                kept.append(now)
            self.down.append(nn.ModuleDict(one))
        mid = {
            "block_1": self.block(now, now, time),
            "attn_1": self.attention(now),
            "block_2": self.block(now, now, time),
        }
        self.mid = nn.ModuleDict(mid)
        for level, width in reversed(list(enumerate(widths))):
            one = {"block": nn.ModuleList(), "attn": nn.ModuleList()}
            for _ in range(layers + 1):
                one["block"].append(self.block(now + kept.pop(), width, time))
                now = width
                if attends[level]:
                    one["attn"].append(self.attention(now))
            if level:
                one["upsample"] = nn.ModuleDict({"conv": nn.Conv2d(now, now, 3, padding=1)})
            self.up.insert(0, nn.ModuleDict(one))
        self.norm_out, self.conv_out = self.norm(now), nn.Conv2d(now, channels, 3, padding=1)

    @staticmethod
    def norm(width):
        return nn.GroupNorm(32, width, eps=1e-6)

    def block(self, given, width, time):
        parts = {
            "norm1": self.norm(given),
            "conv1": nn.Conv2d(given, width, 3, padding=1),
            "temb_proj": nn.Linear(time, width),
            "norm2": self.norm(width),
            "conv2": nn.Conv2d(width, width, 3, padding=1),
        }
        return nn.ModuleDict(parts | ({"nin_shortcut": nn.Conv2d(given, width, 1)} if given != width else {}))

    def attention(self, width):
        return nn.ModuleDict(
            {"norm": self.norm(width)} | {one: nn.Conv2d(width, width, 1) for one in ("q", "k", "v", "proj_out")}
        )

    @staticmethod
    def run(layer, x, emb):
        h = layer["conv1"](F.silu(layer["norm1"](x))) + layer["temb_proj"](F.silu(emb))[:, :, None, None]
        h = layer["conv2"](F.silu(layer["norm2"](h)))
        return h + (layer["nin_shortcut"](x) if "nin_shortcut" in layer else x)

    @staticmethod
    def attend(layer, x):
        h = layer["norm"](x)
        q, k, v = (layer[one](h).flatten(2) for one in ("q", "k", "v"))
        weights = (q.transpose(1, 2) @ k / q.shape[1] ** 0.5).softmax(-1)
        return x + layer["proj_out"]((v @ weights.transpose(1, 2)).view_as(x))

    def forward(self, x, t):
        first, second = self.temb["dense"]
        emb = second(F.silu(first(waves(t, first.in_features, True))))
        x = self.conv_in(x)
        kept = [x]
        for level in self.down:
            for at, layer in enumerate(level["block"]):
                x = self.run(layer, x, emb)
                x = self.attend(level["attn"][at], x) if len(level["attn"]) else x
                kept.append(x)
            if "downsample" in level:
                x = level["downsample"]["conv"](F.pad(x, (0, 1, 0, 1)))
                kept.append(x)
        x = self.run(self.mid["block_2"], self.attend(self.mid["attn_1"], self.run(self.mid["block_1"], x, emb)), emb)
        for level in reversed(self.up):
            for at, layer in enumerate(level["block"]):
                x = self.run(layer, torch.cat([x, kept.pop()], dim=1), emb)
                x = self.attend(level["attn"][at], x) if len(level["attn"]) else x
            if "upsample" in level:
                x = level["upsample"]["conv"](F.interpolate(x, scale_factor=2))
        return self.conv_out(F.silu(self.norm_out(x)))


def scattered(network, seed=0):
    """Weights of which none is what it starts with, so that a swapped one shows."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn_like(weight) * (0.5 if weight.ndim == 1 else 1.2 / weight[0].numel() ** 0.5))
    return network.eval().requires_grad_(False)


def open_network(flags):
    multiples = flags["channel_mult"]
    widths = [32 * int(one) for one in (multiples.split(",") if isinstance(multiples, str) else multiples)]
    sides = [int(one) for one in flags["attention_resolutions"].split(",")]
    head = flags.get("num_head_channels")
    return scattered(
        Open(
            *(3, widths, 1, [SIDE // 2**level in sides for level in range(len(widths))]),
            flags.get("resblock_updown", False),
            flags.get("use_scale_shift_norm", True),
            flags.get("class_cond", False),
            flags.get("learn_sigma", False),
            lambda width: width // head if head else flags.get("num_heads", 4),
            flags.get("use_new_attention_order", False),
        )
    )


def loaded(path, **more):
    defense = Pipeline(path=str(path), **more)
    defense.spec()
    return build(defense.options, digest_files(defense.files()), torch.device("cpu"))


X, T = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 700])


@pytest.mark.parametrize("name", FLAGS)
def test_openais_network_answers_as_it_did(name, tmp_path):
    flags = FLAGS[name]
    network = open_network(flags)
    torch.save(network.state_dict(), tmp_path / "ema_0.9999_010000.pt")
    (tmp_path / "ema_0.9999_010000.json").write_text(json.dumps(flags))
    found = loaded(tmp_path / "ema_0.9999_010000.pt")
    steps = flags.get("diffusion_steps", 1000)
    label = torch.tensor([7, 3]) if "class_cond" in flags else None
    expected = network(X, T * 1000 / steps, label)[:, :3]  # of six channels, three are a variance
    assert (found.network(X, T, label) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert expected.std() > 0.1 and (expected[0] - expected[1]).abs().max() > 0.1
    assert len(found.spec.schedule.alpha_bar) == steps
    if steps == 4000:  # Nichol and Dhariwal's cosine, clipped at 0.999
        share = np.cos((np.arange(4001) / 4000 + 0.008) / 1.008 * np.pi / 2) ** 2
        beta = np.minimum(1 - share[1:] / share[:-1], 0.999)
        assert np.allclose(found.spec.schedule.alpha_bar, np.cumprod(1 - beta), rtol=1e-3, atol=1e-7)


def test_the_other_order_of_an_attention_is_another_network(tmp_path):
    """It loads, so that the flag has to be right: docs/models.md says so."""
    flags = FLAGS["guided, new order"]
    network, label = open_network(flags), torch.tensor([7, 3])
    torch.save(network.state_dict(), tmp_path / "model.pt")
    (tmp_path / "model.json").write_text(json.dumps(flags | {"use_new_attention_order": False}))
    assert (loaded(tmp_path / "model.pt").network(X, T, label) - network(X, T, label)).abs().max() > 1e-2


def test_flags_that_no_unet_of_diffusers_follows_are_one_line(tmp_path):
    torch.save(open_network(FLAGS["guided, legacy order"]).state_dict(), tmp_path / "model.pt")

    def refused(**flags):
        (tmp_path / "model.json").write_text(json.dumps(BASE | flags))
        with pytest.raises(UsageError) as caught:
            loaded(tmp_path / "model.pt")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "heads of one size" in refused(attention_resolutions="8,4", num_heads=4)
    assert "without rescale_timesteps" in refused(num_head_channels=16, diffusion_steps=4000)
    assert "noise_schedule = 'sqrt'" in refused(num_head_channels=16, noise_schedule="sqrt")
    assert "image_size = 8 without channel_mult" in refused(num_head_channels=16, channel_mult="")
    assert "weights are missing" in refused(num_head_channels=16, num_res_blocks=2)
    assert "its settings are not" in refused(num_head_channels=16, channel_mult="a,b")


def test_the_ddim_authors_network_answers_as_it_did(tmp_path):
    """As their training saves it: model, optimizer, epoch, step, moving average; the average is audited."""
    network, average = scattered(Ddim(), 1), scattered(Ddim(), 2)
    named = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save([named, {}, 3, 5, dict(average.named_parameters())], tmp_path / "ckpt.pth")
    (tmp_path / "ckpt.yml").write_text(YAML)
    found = loaded(tmp_path / "ckpt.pth")
    expected = average(X, T)
    assert (found.network(X, T) - expected).abs().max() < 1e-4 * expected.abs().max() and expected.std() > 0.1
    assert "the moving average (EMA)" in found.facts["read"]
    torch.save(network.state_dict(), tmp_path / "ckpt.pth")  # the form of their pretrained models
    assert (loaded(tmp_path / "ckpt.pth").network(X, T) - network(X, T)).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("said, why", [("rescaled: false", "with rescaled images"), ("beta_schedule: quad", "linear")])
def test_settings_of_theirs_that_are_not_known_are_one_line(tmp_path, said, why):
    key = said.split(":")[0]
    text = YAML.replace(f"{key}: true", said).replace(f"{key}: linear", said)
    torch.save(Ddim().state_dict(), tmp_path / "ckpt.pth")
    (tmp_path / "ckpt.yml").write_text(text)
    with pytest.raises(UsageError, match=why):
        loaded(tmp_path / "ckpt.pth")
