"""Work counted from the shapes of parameters is what torch's own counter counts, to the last operation."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from leakbench.models import networks
from leakbench.models.network_spec import NetworkSpec, default_spec, unet_settings
from leakbench.models.pretrained.header_work import count_header_work, read_header
from leakbench.models.pretrained.inspect import Options
from leakbench.models.work import count_dit_work, count_spec_weights, count_spec_work, count_unet_work, list_unet_shapes
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError

SPECS = {
    "mlp": default_spec((1, 8, 8)),
    "unet": default_spec((1, 16, 16)),
    "odd": default_spec((3, 14, 11), conditions=3),
    "control": NetworkSpec(kind="unet", shape=(1, 16, 16), width=8, blocks=1, levels=(1, 2, 2), attention=1),
    "ddpm": NetworkSpec(kind="unet", shape=(3, 32, 32), width=8, blocks=2, levels=(1, 2, 2, 2)),
}


def counted(call):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", SPECS)
def test_a_network_of_our_own(name):
    spec = SPECS[name]
    network = networks.build(spec, Rng("work", 0).of("weights")).eval()
    t = torch.zeros(1, dtype=torch.int64)
    assert count_spec_work(spec).flops == counted(
        lambda: network(torch.zeros(1, *spec.shape), t, t if spec.conditions else None)
    )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert 0.95 * parameters < count_spec_weights(spec) <= parameters


@pytest.mark.parametrize("name", ["unet", "control", "ddpm"])
def test_the_shapes_of_a_unet_are_those_of_diffusers(name):
    body = networks.build(SPECS[name], Rng("work", 0).of("weights")).body
    shapes = {key: tuple(value.shape) for key, value in body.state_dict().items() if value.dim() > 1}
    assert list_unet_shapes(unet_settings(SPECS[name])) == shapes


def test_a_text_conditional_unet():
    from diffusers import UNet2DConditionModel

    blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}  # fmt: skip  # noqa: E501
    body = UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4, cross_attention_dim=12,
        attention_head_dim=4, **blocks,
    )  # fmt: skip
    shapes = {key: tuple(value.shape) for key, value in body.state_dict().items()}
    once = counted(lambda: body(torch.zeros(1, 4, 16, 16), torch.zeros(1), torch.zeros(1, 77, 12)))
    assert count_unet_work(shapes, 2, (16, 16)).flops == once


def test_a_diffusion_transformer():
    from diffusers import DiTTransformer2DModel

    body = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, num_layers=2, sample_size=8, patch_size=2
    ).eval()
    shapes = {key: tuple(value.shape) for key, value in body.state_dict().items()}
    label = torch.zeros(1, dtype=torch.int64)
    once = counted(lambda: body(torch.zeros(1, 4, 8, 8), torch.zeros(1), label))
    assert count_dit_work(shapes, 16).flops == pytest.approx(once, rel=0.05)  # labels are embedded once more a block


def test_a_given_model_is_counted_from_its_files(tmp_path):
    from diffusers import DDPMPipeline, DDPMScheduler

    network = networks.build(SPECS["control"], Rng("work", 0).of("weights"))
    DDPMPipeline(network.body, DDPMScheduler()).save_pretrained(tmp_path / "model")
    found = count_header_work(Options(str(tmp_path / "model")))
    assert found == count_spec_work(SPECS["control"])


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(UsageError, match="not a safetensors file"):
        read_header(tmp_path / "model.safetensors")
