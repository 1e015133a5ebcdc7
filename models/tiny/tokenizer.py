"""A WordPiece tokenizer over the caption words that reads any string.

Unknown words fall into single letters; what is not ASCII becomes `<unk>`. Nothing is downloaded.
"""

from __future__ import annotations

import string

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from models.tiny.captions import FILLERS, PHRASES, TEMPLATES
from models.tiny.data import BACKGROUNDS, COLOURS, SHAPES
from models.tiny.untyped import PreTrainedTokenizerFast, Tokenizer

SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
"""Padding is 0 and the end of a text is 1, as in UMT5."""

EXTRA_WORDS = ("two", "small", "large", "big")
"""Words no caption uses yet; room for later training without a new vocabulary."""

MAX_NUM_TOKENS = 512


def build_vocabulary() -> dict[str, int]:
    """Returns all tokens with their ids: special tokens, single characters, then whole words."""
    words = {*COLOURS, *BACKGROUNDS, *SHAPES, *FILLERS, *EXTRA_WORDS}
    for phrases in PHRASES.values():
        words.update(*(phrase.split() for phrase in phrases))
    for _, template in TEMPLATES:
        words.update(word.strip(".,") for word in template.split() if "{" not in word)
    tokens = list(SPECIAL_TOKENS)
    for character in string.ascii_lowercase + string.digits + string.punctuation:
        tokens += [character, f"##{character}"]
    tokens += sorted(words)
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def build_tokenizer() -> Tokenizer:
    """Builds the tokenizer; it lower-cases, strips accents and ends every text with `</s>`.

    Returns:
        A fast tokenizer that gives `input_ids` and `attention_mask`, at most 512 tokens.
    """
    vocabulary = build_vocabulary()
    pieces = tokenizers.Tokenizer(
        models.WordPiece(vocabulary, unk_token="<unk>", max_input_chars_per_word=64)  # noqa: S106
    )
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece()
    pieces.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        pad_token="<pad>",  # noqa: S106 - a token of text, no secret
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        model_max_length=MAX_NUM_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
    )
