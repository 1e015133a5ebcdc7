"""The tokenizer reads any string and knows every word of a caption."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tiny.captions import describe, draw_caption, draw_picture_caption
from models.tiny.data import draw_combination
from models.tiny.texts import MAX_TEXT_TOKENS
from models.tiny.tokenizer import build_tokenizer
from models.tiny.training import Draws

TOKENIZER = build_tokenizer()
PAD, END, UNKNOWN = 0, 1, 2


@given(st.text())
def test_any_string_becomes_tokens_with_an_end(text: str) -> None:
    ids = TOKENIZER(text).input_ids
    assert ids[-1] == END
    assert all(0 <= token < len(TOKENIZER) for token in ids)


@pytest.mark.parametrize("text", ["", " ", "一只红色的圆向右移动", "🎬", "\x00", "a" * 5000])
def test_strange_prompts_are_read(text: str) -> None:
    assert TOKENIZER(text, max_length=512, truncation=True).input_ids[-1] == END


def test_captions_take_one_token_a_word_or_chinese_character() -> None:
    rng = Draws(1, 0).rng
    for _ in range(300):
        shown = draw_combination(rng)
        english, chinese = describe(shown), describe(shown, "zh")
        assert len(TOKENIZER(english).input_ids) == len(english.split()) + 1
        assert len(TOKENIZER(chinese).input_ids) == len(chinese) + 1


def test_no_training_caption_holds_an_unknown_token_or_is_cut() -> None:
    rng = Draws(2, 0).rng
    for _ in range(1000):
        shown = draw_combination(rng)
        for text in (draw_caption(shown, rng), draw_picture_caption(shown, rng)):
            ids = TOKENIZER(text).input_ids
            assert UNKNOWN not in ids, text
            assert len(ids) <= MAX_TEXT_TOKENS, text


def test_case_does_not_matter() -> None:
    assert TOKENIZER("A Red Circle").input_ids == TOKENIZER("a red circle").input_ids


def test_padding_comes_after_the_text() -> None:
    padded = TOKENIZER("red", padding="max_length", max_length=4)
    assert padded.input_ids[1:] == [END, PAD, PAD]
    assert padded.attention_mask == [1, 1, 0, 0]
