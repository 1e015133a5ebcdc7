"""The tokenizer reads any string and knows every word of a caption."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tiny.captions import describe, draw_caption, draw_picture_caption
from models.tiny.data import draw_combination
from models.tiny.phrases import CHINESE, translate
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


def split(text: str) -> list[str]:
    pieces: list[str]
    *pieces, end = TOKENIZER.convert_ids_to_tokens(TOKENIZER(text).input_ids)
    assert end == "</s>"
    return pieces


def test_captions_take_one_token_a_word_in_both_languages() -> None:
    rng = Draws(1, 0).rng
    for _ in range(300):
        shown = draw_combination(rng)
        assert split(describe(shown)) == describe(shown).split()
        pieces = split(describe(shown, "zh"))
        assert "".join(pieces) == describe(shown, "zh")
        for thing in shown.things:
            assert CHINESE.colours[thing.colour] in pieces
            assert CHINESE.shapes[thing.shape] in pieces


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (
            "黑色背景上，一个红色的圆形在一个静止的蓝色正方形上方向右移动",
            "黑色 背景 上 ， 一个 红色 的 圆形 在 一个 静止 的 蓝色 正方形 上方 向右 移动",
        ),
        ("深蓝色背景上上下弹跳", "深蓝色 背景 上 上下弹跳"),
        ("黄绿方块向左上方移动", "黄绿 方块 向左上方 移动"),
        ("可爱的red圆", "<unk> <unk> 的 red 圆"),
    ],
)
def test_chinese_is_cut_into_its_longest_known_words(text: str, pieces: str) -> None:
    assert split(text) == pieces.split()


def test_every_chinese_word_is_in_captions_and_means_english_words_that_are_known() -> None:
    rng = Draws(3, 0).rng
    said = {piece for _ in range(8000) for piece in split(draw_caption(draw_combination(rng), rng))}
    meanings = translate()
    assert set(meanings) <= said
    for meaning in meanings.values():
        assert split(meaning) == meaning.split(), meaning


def test_unknown_tokens_come_from_noise_alone_and_no_training_caption_is_cut() -> None:
    rng = Draws(2, 0).rng
    num_unknown = 0
    for _ in range(1000):
        shown = draw_combination(rng)
        told = [draw_picture_caption(shown, rng), describe(shown), describe(shown, "zh")]
        assert not any(UNKNOWN in TOKENIZER(text).input_ids for text in told), told
        drawn = draw_caption(shown, rng)
        num_unknown += UNKNOWN in TOKENIZER(drawn).input_ids
        for text in (drawn, *told):
            assert len(TOKENIZER(text).input_ids) <= MAX_TEXT_TOKENS, text
    assert 0 < num_unknown < 200


def test_case_does_not_matter() -> None:
    assert TOKENIZER("A Red Circle").input_ids == TOKENIZER("a red circle").input_ids


def test_padding_comes_after_the_text() -> None:
    padded = TOKENIZER("red", padding="max_length", max_length=4)
    assert padded.input_ids[1:] == [END, PAD, PAD]
    assert padded.attention_mask == [1, 1, 0, 0]
