"""The one door to diffusers and transformers, whose type information is only partial.

Their classes come through as `Any`; the aliases below say in a signature which object is meant.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import diffusers
import transformers
from diffusers.models.autoencoders import autoencoder_kl_wan
from diffusers.models.transformers import transformer_wan

Vae: TypeAlias = Any
"""An `AutoencoderKLWan`."""

Transformer: TypeAlias = Any
"""A `WanTransformer3DModel`."""

TextEncoder: TypeAlias = Any
"""A `UMT5EncoderModel`."""

Tokenizer: TypeAlias = Any
"""A `PreTrainedTokenizerFast`."""

Scheduler: TypeAlias = Any
"""A `UniPCMultistepScheduler`."""

Pipeline: TypeAlias = Any
"""A `WanPipeline` or a `WanImageToVideoPipeline`."""

AutoencoderKLWan: Any = diffusers.AutoencoderKLWan
UniPCMultistepScheduler: Any = diffusers.UniPCMultistepScheduler
WanImageToVideoPipeline: Any = diffusers.WanImageToVideoPipeline
WanPipeline: Any = diffusers.WanPipeline
WanTransformer3DModel: Any = diffusers.WanTransformer3DModel
PreTrainedTokenizerFast: Any = transformers.PreTrainedTokenizerFast
UMT5Config: Any = transformers.UMT5Config
UMT5EncoderModel: Any = transformers.UMT5EncoderModel

WanAttnProcessor: Any = transformer_wan.WanAttnProcessor
transformer_module: Any = transformer_wan
patchify: Any = autoencoder_kl_wan.patchify
unpatchify: Any = autoencoder_kl_wan.unpatchify
