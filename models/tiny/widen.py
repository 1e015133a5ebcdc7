"""Starts an autoencoder from a trained one that has fewer latent channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from models.tiny.config import INITIAL_LOG_VARIANCE, build_vae

if TYPE_CHECKING:
    from torch import Tensor

    from models.tiny.untyped import Vae

NEW_CHANNEL_SCALE = 0.3
"""How loudly the decoder hears a new latent channel at first, beside a random initialisation."""


def widen_vae(trained: Vae, **overrides: object) -> Vae:
    """Builds an autoencoder that does what a trained one does, with free latent channels besides.

    Args:
        trained: An autoencoder of the same widths with at most as many latent channels.
        **overrides: Entries of `VAE_CONFIG` to replace, for a smaller one in a test.

    Returns:
        A float32 autoencoder; its first latent channels are those of `trained`.

    Raises:
        ValueError: A weight has another shape, and not for the latent channels' sake.
    """
    vae = build_vae(**overrides)
    old, new = trained.config.z_dim, vae.config.z_dim
    weights = trained.state_dict()
    for name, target in vae.state_dict().items():
        source = weights[name].float()
        if source.shape == target.shape:
            target.copy_(source)
        elif not _is_latent(name):
            raise ValueError(
                f"{name} is {list(source.shape)}, not {list(target.shape)}: "
                "start from an autoencoder of the same widths"
            )
    state = vae.state_dict()
    with torch.no_grad():
        _widen_encoder(state, weights, old, new)
        _widen_decoder(state, weights, old, new)
    return vae


def _is_latent(name: str) -> bool:
    return name.startswith(("encoder.conv_out", "quant_conv", "post_quant_conv", "decoder.conv_in"))


def _widen_encoder(
    state: dict[str, Tensor], weights: dict[str, Tensor], old: int, new: int
) -> None:
    """Means and log variances stand one above the other in the last layer, `quant_conv`."""
    for kind in ("weight", "bias"):
        state[f"encoder.conv_out.{kind}"][: 2 * old] = weights[f"encoder.conv_out.{kind}"]
    matrix, bias = state["quant_conv.weight"], state["quant_conv.bias"]
    matrix.zero_()
    bias.zero_()
    bias[new:] = INITIAL_LOG_VARIANCE
    for channel in range(new - old):
        matrix[old + channel, 2 * old + channel] = 1
    for first, source in ((0, 0), (new, old)):
        rows, origin = slice(first, first + old), slice(source, source + old)
        matrix[rows, : 2 * old] = weights["quant_conv.weight"][origin]
        bias[rows] = weights["quant_conv.bias"][origin]


def _widen_decoder(
    state: dict[str, Tensor], weights: dict[str, Tensor], old: int, new: int
) -> None:
    matrix, bias = state["post_quant_conv.weight"], state["post_quant_conv.bias"]
    matrix.zero_()
    bias.zero_()
    for channel in range(old, new):
        matrix[channel, channel] = 1
    matrix[:old, :old] = weights["post_quant_conv.weight"]
    bias[:old] = weights["post_quant_conv.bias"]
    state["decoder.conv_in.weight"].mul_(NEW_CHANNEL_SCALE)
    state["decoder.conv_in.weight"][:, :old] = weights["decoder.conv_in.weight"]
    state["decoder.conv_in.bias"].copy_(weights["decoder.conv_in.bias"])
