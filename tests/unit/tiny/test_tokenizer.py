"""The tokenizer reads any string and knows every word of a caption."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tiny.captions import PHRASES, describe, draw_caption
from models.tiny.data import list_combinations
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


def test_captions_take_one_token_a_word() -> None:
    for each in list_combinations():
        text = describe(each)
        # "an" is spelled: the vocabulary is as old as the weights.
        num_spelled = text.split().count("an")
        assert len(TOKENIZER(text).input_ids) == len(text.split()) + num_spelled + 1
    for phrases in PHRASES.values():
        for phrase in phrases:
            assert len(TOKENIZER(phrase).input_ids) == len(phrase.split()) + 1


def test_no_training_caption_holds_an_unknown_token() -> None:
    rng = Draws(1, 0).rng
    for _ in range(500):
        assert (
            UNKNOWN not in TOKENIZER(draw_caption(rng.choice(list_combinations()), rng)).input_ids
        )


def test_case_does_not_matter() -> None:
    assert TOKENIZER("A Red Circle").input_ids == TOKENIZER("a red circle").input_ids


def test_padding_comes_after_the_text() -> None:
    padded = TOKENIZER("red", padding="max_length", max_length=4)
    assert padded.input_ids[1:] == [END, PAD, PAD]
    assert padded.attention_mask == [1, 1, 0, 0]
