"""Captions say what a clip shows, in two languages over one vocabulary."""

from __future__ import annotations

import re

from models.tiny.captions import (
    describe,
    draw_caption,
    draw_picture_caption,
    draw_training_caption,
)
from models.tiny.data import (
    BACKGROUNDS,
    COLOURS,
    MOTIONS,
    RELATIONS,
    SHAPES,
    Combination,
    Thing,
    draw_combination,
)
from models.tiny.phrases import LANGUAGES
from models.tiny.training import Draws

PAIR = Combination(
    (Thing("orange", "circle", "right"), Thing("blue", "square", "still")), "navy", "above"
)


def test_canonical_captions_name_everything() -> None:
    assert describe(PAIR) == (
        "an orange circle moving right above a still blue square on a navy background"
    )
    assert describe(PAIR, "zh") == (
        "深蓝色背景上，一个橙色的圆形在一个静止的蓝色正方形上方向右移动"
    )
    moving = PAIR._replace(things=(PAIR.things[0], Thing("white", "ring", "left")))
    assert "above a white ring moving left on" in describe(moving)
    assert "在一个向左移动的白色圆环上方" in describe(moving, "zh")
    single = Combination((Thing("red", "heart", "up left"),), "sunset")
    assert describe(single) == "a red heart moving up and left on a sunset background"
    assert describe(single, "zh") == "日落背景上，一个红色的心形向左上方移动"


def test_both_languages_have_a_word_of_their_own_for_everything() -> None:
    for language in LANGUAGES.values():
        assert language.colours.keys() == COLOURS.keys()
        assert tuple(language.shapes) == SHAPES
        assert language.backgrounds.keys() == BACKGROUNDS.keys()
        assert tuple(language.relations) == RELATIONS
        assert tuple(language.motions) == MOTIONS
        for names in (language.colours, language.shapes, language.relations):
            assert len(set(names.values())) == len(names)
        phrases = [phrase for each in language.motions.values() for phrase in each]
        assert len(set(phrases)) == len(phrases), "one phrase means one motion"


def test_no_caption_is_true_of_another_combination() -> None:
    rng = Draws(1, 0).rng
    drawn = {draw_combination(rng) for _ in range(3000)}
    for language in LANGUAGES:
        assert len({describe(each, language) for each in drawn}) == len(drawn)


def test_a_caption_never_says_what_the_clip_does_not_show() -> None:
    rng = Draws(2, 0).rng
    words = {*COLOURS, *SHAPES, *BACKGROUNDS}
    for _ in range(2000):
        shown = draw_combination(rng)
        caption = draw_caption(shown, rng)
        said = set(re.findall(r"[a-z]+", caption.lower()))
        allowed = {shown.background, *(word for thing in shown.things for word in thing)}
        assert said & words <= allowed
        chinese = LANGUAGES["zh"]
        others = set(SHAPES) - {thing.shape for thing in shown.things}
        assert not any(chinese.shapes[shape] in caption for shape in others)


def test_both_languages_are_common() -> None:
    rng = Draws(3, 0).rng
    captions = [draw_caption(draw_combination(rng), rng) for _ in range(1000)]
    assert 400 < sum(not each.isascii() for each in captions) < 600


def test_training_captions_are_sometimes_empty() -> None:
    rng = Draws(4, 0).rng
    texts = [draw_training_caption(PAIR, rng) for _ in range(2000)]
    assert 0.05 < texts.count("") / len(texts) < 0.11


def test_a_picture_s_background_has_no_name() -> None:
    rng = Draws(5, 0).rng
    for _ in range(300):
        caption = draw_picture_caption(PAIR, rng)
        assert "navy" not in caption
        assert "背景" not in caption
