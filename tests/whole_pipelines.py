"""Tiny pipelines of many families, of random weights: each made by diffusers' own class and saved by it."""

from __future__ import annotations

import string

import torch

WORDS = ["a", "cat", "the", "red", "house", "dog"]


def sentence_tokenizer():
    """A T5 tokenizer that knows the letters."""
    from transformers import T5Tokenizer

    pieces = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_lowercase]
    return T5Tokenizer(vocab=[(piece, -float(at)) for at, piece in enumerate(pieces)], extra_ids=0)


def letter_tokenizer():
    """A Gemma tokenizer that knows the letters."""
    from transformers import GemmaTokenizer

    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *string.ascii_letters, *string.punctuation]
    return GemmaTokenizer(vocab={piece: at for at, piece in enumerate(pieces)}, merges=[])


def byte_tokenizer():
    """A Qwen tokenizer that knows the bytes, and a chat of turns."""
    from transformers import Qwen2Tokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    pieces = [*sorted(bytes_to_unicode().values()), "<|endoftext|>"]
    made = Qwen2Tokenizer(vocab={piece: at for at, piece in enumerate(pieces)}, merges=[])
    made.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return made


_QWEN = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 16, "bos_token_id": None, "eos_token_id": None}
_QWEN |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 2048}


def qwen3(layers):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**_QWEN, num_hidden_layers=layers, head_dim=8)).eval()


def qwen_of_images():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    turns = {"rope_type": "default", "type": "default", "mrope_section": [1, 1, 2]}
    seeing = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    config = Qwen2_5_VLConfig(text_config=_QWEN | {"num_hidden_layers": 1, "rope_scaling": turns}, vision_config=seeing)
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def t5(width=16, kind="T5EncoderModel"):
    import transformers

    config = getattr(transformers, kind.replace("EncoderModel", "Config"))
    return getattr(transformers, kind)(
        config(vocab_size=40, d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=0)
    ).eval()


def gemma(width=16):
    from transformers import Gemma2Config, Gemma2Model

    sizes = {"hidden_size": width, "intermediate_size": 16, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return Gemma2Model(Gemma2Config(vocab_size=100, max_position_embeddings=512, **sizes, **heads)).eval()


def clip(projected=None):
    """A CLIP text encoder of width 16, or one with a projection."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
    tokens = {"vocab_size": 60, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPTextConfig(**sizes, **tokens, max_position_embeddings=16, projection_dim=projected or 16)
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def vae(channels=4, levels=2, **more):
    """Of images of 3 channels, which every level but the last halves, to latents of 8x8."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=8 * 2 ** (levels - 1),
        **more,
    ).eval()


def deep_vae():
    from diffusers import AutoencoderDC

    return AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()),
        upsample_block_type="interpolate",
        downsample_block_type="stride_conv",
        scaling_factor=0.5,
    ).eval()


def flow(**more):
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**more)


def ddim(**more):
    from diffusers import DDIMScheduler

    return DDIMScheduler(timestep_spacing="trailing", clip_sample=False, **more)


def text_unet(**more):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=4,
        **more,
    ).eval()


def sdxl(words):
    from diffusers import StableDiffusionXLPipeline

    unet = text_unet(
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 16,
    )
    return StableDiffusionXLPipeline(
        vae(levels=4),
        clip(),
        clip(16),
        words,
        words,
        unet,
        ddim(),
        add_watermarker=False,
        force_zeros_for_empty_prompt=True,
    )


def lcm(words):
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    unet = text_unet(cross_attention_dim=16, time_cond_proj_dim=8)
    return LatentConsistencyModelPipeline(
        vae(), clip(), words, unet, LCMScheduler(), None, None, requires_safety_checker=False
    )


def sd3(words, with_t5=True):
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    body = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=48,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        out_channels=16,
        pos_embed_max_size=8,
    ).eval()
    third = (t5(48), sentence_tokenizer()) if with_t5 else (None, None)
    coder = vae(16, scaling_factor=1.5, shift_factor=0.06)
    return StableDiffusion3Pipeline(body, flow(shift=3.0), coder, clip(16), words, clip(16), words, *third)


def flux(words, guided=True):
    from diffusers import FluxPipeline, FluxTransformer2DModel

    body = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=16,
        guidance_embeds=guided,
        axes_dims_rope=(4, 4, 8),
    ).eval()
    coder = vae(4, scaling_factor=0.36, shift_factor=0.12)
    return FluxPipeline(flow(), coder, clip(), words, t5(24), sentence_tokenizer(), body)


def sana(_words):
    from diffusers import DPMSolverMultistepScheduler, SanaPipeline, SanaTransformer2DModel

    body = SanaTransformer2DModel(
        sample_size=16,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=16,
        timestep_scale=0.5,
    ).eval()
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, algorithm_type="dpmsolver++"
    )
    return SanaPipeline(letter_tokenizer(), gemma(), deep_vae(), body, scheduler)


def pixart(_words, sigma=False, **more):
    from diffusers import PixArtAlphaPipeline, PixArtSigmaPipeline, PixArtTransformer2DModel

    settings = {"sample_size": 8, "use_additional_conditions": False if sigma else None} | more
    body = PixArtTransformer2DModel(
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        attention_head_dim=12,
        num_attention_heads=2,
        caption_channels=16,
        cross_attention_dim=24,
        norm_num_groups=4,
        **settings,
    ).eval()
    kind = PixArtSigmaPipeline if sigma else PixArtAlphaPipeline
    return kind(sentence_tokenizer(), t5(), vae(levels=4), body, ddim())


def aura_flow(_words):
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel

    body = AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pos_embed_max_size=64,
    ).eval()
    return AuraFlowPipeline(sentence_tokenizer(), t5(kind="UMT5EncoderModel"), vae(), body, flow(shift=1.73))


def lumina2(_words):
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    body = Lumina2Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=16,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 64, 64),
        cap_feat_dim=16,
    ).eval()
    return Lumina2Pipeline(body, flow(), vae(16, scaling_factor=0.36, shift_factor=0.12), gemma(), letter_tokenizer())


def qwen_image(_words):
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel

    body = QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=16,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
    ).eval()
    scales = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [0.5, 1.0, 2.0, 1.5]}
    coder = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1], num_res_blocks=1, temperal_downsample=[False], **scales
    ).eval()
    return QwenImagePipeline(flow(), coder, qwen_of_images(), byte_tokenizer(), body)


def flux2(_words):
    from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel

    body = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    ).eval()
    levels = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    coder = AutoencoderKLFlux2(
        block_out_channels=(8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=4, sample_size=16, **levels
    ).eval()
    coder.bn.running_mean += torch.randn(16)
    coder.bn.running_var += torch.rand(16)
    return Flux2KleinPipeline(flow(), coder, qwen3(28), byte_tokenizer(), body)


def z_image(_words):
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    body = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 64, 64],
    ).eval()
    coder = vae(4, scaling_factor=0.36, shift_factor=0.12)
    return ZImagePipeline(flow(shift=3.0), coder, qwen3(2), byte_tokenizer(), body)


PIPELINES = {
    "SDXL": sdxl,
    "LCM": lcm,
    "SD3": sd3,
    "SD3 without T5": lambda words: sd3(words, False),
    "FLUX.1-dev": flux,
    "FLUX.1-schnell": lambda words: flux(words, False),
    "Sana": sana,
    "PixArt-alpha": pixart,
    "PixArt-alpha of 1,024 pixels": lambda words: pixart(words, sample_size=128),
    "PixArt-Sigma": lambda words: pixart(words, True),
    "AuraFlow": aura_flow,
    "Lumina-2": lumina2,
    "Qwen-Image": qwen_image,
    "FLUX.2-klein": flux2,
    "Z-Image": z_image,
}


def make(name, words):
    """A pipeline in its own random numbers, so that each is the same in every test."""
    with torch.random.fork_rng():
        torch.manual_seed(len(name))
        made = PIPELINES[name](words)
    for part in made.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False)
    made.set_progress_bar_config(disable=True)
    return made
