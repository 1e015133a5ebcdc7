"""What checkpoints of several families have in common: a tokenizer and a T5."""

from typing import Any, Literal

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    UMT5Config,
    UMT5EncoderModel,
)

SPECIALS = ["<pad>", "</s>", "<unk>", "<bos>"]
VOCABULARY_SIZE = len(SPECIALS) + 256
TEXT_WIDTH = 32


def byte_tokenizer(
    ends: Literal["end", "begin"] = "end", max_length: int = 512
) -> PreTrainedTokenizerFast:
    """Byte by byte, so that any prompt has tokens; one more at the end as T5, or at the beginning.

    `max_length`: what prompts are cut to or padded to.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(SPECIALS + letters)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>" if ends == "end" else "<bos> $A",
        special_tokens=[("</s>", 1), ("<bos>", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        bos_token="<bos>",
        model_max_length=max_length,
        padding_side="right" if ends == "end" else "left",
    )


def t5_encoder(*, is_multilingual: bool, vocabulary_size: int = VOCABULARY_SIZE) -> Any:
    """A T5, or the UMT5 of Wan, `TEXT_WIDTH` wide."""
    torch.manual_seed(0)
    config = (UMT5Config if is_multilingual else T5Config)(
        vocab_size=vocabulary_size,
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=1,
    )
    return (UMT5EncoderModel if is_multilingual else T5EncoderModel)(config)
