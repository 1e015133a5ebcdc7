"""A WordPiece tokenizer over the words of captions that reads any string.

Chinese has no spaces, so its known words are cut out first, the longest that fits. Unknown words
fall into single letters, unknown characters and other scripts into `<unk>`. Nothing is downloaded.
"""

from __future__ import annotations

import re
import string

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from models.tiny.phrases import LANGUAGES, Language, translate
from models.tiny.untyped import PreTrainedTokenizerFast, Tokenizer

SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
"""Padding is 0 and the end of a text is 1, as in UMT5."""

MAX_NUM_TOKENS = 512

CHINESE_WORDS = sorted(translate(), key=len, reverse=True)
"""One token each, the longest first: as many tokens say as much as in English.

Read character by character, Chinese was understood less well (of two things 0.77 of the motions
were right, in English 0.93).
"""


def build_vocabulary() -> dict[str, int]:
    """Returns all tokens with their ids: special tokens, characters, then whole words."""
    pieces = {piece for each in LANGUAGES.values() for piece in _split(each)}
    is_word = {piece: piece.isascii() for piece in pieces}
    tokens = list(SPECIAL_TOKENS)
    for character in string.ascii_lowercase + string.digits + string.punctuation:
        tokens += [character, f"##{character}"]
    tokens += sorted(piece for piece in pieces if not is_word[piece])
    tokens += sorted(piece for piece in pieces if is_word[piece])
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def _split(language: Language) -> set[str]:
    """Returns all words and lone Chinese characters that captions of a language hold."""
    texts: list[str] = [*language.fillers, "an"]
    for names in (
        language.colours, language.shapes, language.short_names, language.backgrounds,
        language.relations, language.adjectives,
    ):  # fmt: skip
        texts += names.values()
    for phrases in language.motions.values():
        texts += phrases
    for _, template in (*language.single, *language.pair):
        texts.append(re.sub(r"{\w+}", " ", template))
    texts += [re.sub(r"{\w+}", " ", each) for each in (language.qualified, language.moving)]
    pieces = "|".join([*CHINESE_WORDS, "[a-z0-9]+", r"[^\x00-\x7f]"])
    return set(re.findall(pieces, " ".join(texts)))


def build_tokenizer() -> Tokenizer:
    """Builds the tokenizer; it lower-cases, strips accents and ends every text with `</s>`.

    Returns:
        A fast tokenizer that gives `input_ids` and `attention_mask`, at most 512 tokens.
    """
    vocabulary = build_vocabulary()
    pieces = tokenizers.Tokenizer(
        models.WordPiece(vocabulary, unk_token="<unk>", max_input_chars_per_word=64)  # noqa: S106
    )
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=False)
    chinese = tokenizers.Regex("|".join([*CHINESE_WORDS, r"\p{Han}"]))
    pieces.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(chinese, "isolated"), pre_tokenizers.BertPreTokenizer()]
    )
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
