"""Names of weights in the checkpoints of AudioMAE, of AudioLDM's diffusion model and VAE, and of HiFi-GAN."""

import re
from collections.abc import Mapping

from torch import nn

from .audiomae import AudioMAE, AudioMAEBlock
from .hifigan import HiFiGAN, HiFiGANBlock
from .image import ResidualBlock
from .unet import Attention, SpatialTransformer, UNet
from .vae import PointAttention, VAEDecoder
from .vae_encoder import VAEEncoder

Tables = Mapping[type[nn.Module], Mapping[str, str]]  # kind of layer -> our name of a part -> theirs

BLOCK = "transformer_blocks.0."
AUDIOMAE: Tables = {
    AudioMAE: {"embed": "patch_embed.proj", "first": "cls_token", "positions": "pos_embed"},
    AudioMAEBlock: {"qkv": "attn.qkv", "out": "attn.proj", "widen": "mlp.fc1", "narrow": "mlp.fc2"},
}
UNET: Tables = {
    UNet: {"time": "time_embed", "down": "input_blocks", "middle": "middle_block", "up": "output_blocks", "leave": "out"},
    ResidualBlock: {
        "norm1": "in_layers.0", "conv1": "in_layers.2", "time": "emb_layers.1", "norm2": "out_layers.0",
        "conv2": "out_layers.3", "skip": "skip_connection",
    },
    SpatialTransformer: {
        "enter": "proj_in", "leave": "proj_out", "attention1": BLOCK + "attn1", "attention2": BLOCK + "attn2",
        "norm1": BLOCK + "norm1", "norm2": BLOCK + "norm2", "norm3": BLOCK + "norm3",
        "widen": BLOCK + "ff.net.0.proj", "narrow": BLOCK + "ff.net.2",
    },
    Attention: {"query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"},
}  # fmt: skip
VAE: Tables = {
    ResidualBlock: {"skip": "nin_shortcut"},
    PointAttention: {"query": "q", "key": "k", "value": "v", "out": "proj_out"},
}
VOCODER: Tables = {
    HiFiGAN: {"enter": "conv_pre", "blocks": "resblocks", "leave": "conv_post"},
    HiFiGANBlock: {"dilated": "convs1", "plain": "convs2"},
}
VAE_ENDS = {
    "enter.0": "post_quant_conv", "enter.1": "decoder.conv_in", "middle.0": "decoder.mid.block_1",
    "middle.1": "decoder.mid.attn_1", "middle.2": "decoder.mid.block_2", "leave.0": "decoder.norm_out",
    "leave.2": "decoder.conv_out",
}  # fmt: skip
VAE_ENCODER_ENDS = {
    "enter": "encoder.conv_in", "middle.0": "encoder.mid.block_1", "middle.1": "encoder.mid.attn_1",
    "middle.2": "encoder.mid.block_2", "leave.0": "encoder.norm_out", "leave.2": "encoder.conv_out", "spread": "quant_conv",
}  # fmt: skip


def audiomae_names(model: AudioMAE) -> dict[str, str]:
    """Return our name -> theirs of every weight."""
    return _names(model, AUDIOMAE)


def unet_names(model: UNet) -> dict[str, str]:
    """Return our name -> theirs of every weight; a convolution that halves the image has one more step in its name."""
    halving = re.compile(r"(input_blocks\.[1-9]\d*\.0)\.(weight|bias)")
    return {ours: halving.sub(r"\1.op.\2", theirs) for ours, theirs in _names(model, UNET).items()}


def vae_names(model: VAEDecoder) -> dict[str, str]:
    """Return our name -> theirs of every weight; theirs count the levels from the finest."""
    last, blocks = len(model.levels) - 1, model.config.blocks
    names = {}
    for ours, theirs in _names(model, VAE).items():
        first, number, rest = theirs.split(".", 2)
        if first == "levels":
            place, rest = rest.split(".", 1)
            part = "upsample" if int(place) == blocks else f"block.{place}"
            names[ours] = f"decoder.up.{last - int(number)}.{part}.{rest}"
        else:
            names[ours] = f"{VAE_ENDS[f'{first}.{number}']}.{rest}"
    return names


def vae_encoder_names(model: VAEEncoder) -> dict[str, str]:
    """Return our name -> theirs of every weight."""
    place = re.compile(r"levels\.(\d+)\.(\d+)\.(.+)")
    names = {}
    for ours, theirs in _names(model, VAE).items():
        if found := place.fullmatch(theirs):
            level, number, rest = found.groups()
            part = f"block.{number}" if int(number) < model.blocks else "downsample"
            names[ours] = f"encoder.down.{level}.{part}.{rest}"
        else:
            end = next(end for end in VAE_ENCODER_ENDS if theirs.startswith(end + "."))
            names[ours] = VAE_ENCODER_ENDS[end] + theirs.removeprefix(end)
    return names


def vocoder_names(model: HiFiGAN) -> dict[str, str]:
    """Return our name -> theirs of every weight."""
    return _names(model, VOCODER)


def _names(module: nn.Module, tables: Tables, ours: str = "", theirs: str = "") -> dict[str, str]:
    table = tables.get(type(module), {})
    names = {ours + name: theirs + table.get(name, name) for name, _ in module.named_parameters(recurse=False)}
    for name, part in module.named_children():
        names |= _names(part, tables, f"{ours}{name}.", f"{theirs}{table.get(name, name)}.")
    return names
