"""The tiny model's world: its vocabulary, what goes together, and where shapes move."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from models.tiny.data import (
    BACKGROUNDS,
    COLOURS,
    DIRECTIONS,
    MIN_CONTRAST,
    MOTIONS,
    PAIR_MOTIONS,
    RELATIONS,
    SHAPES,
    Combination,
    Thing,
    draw_combination,
    has_contrast,
    is_held_out,
    list_held_out,
    training_weight,
)
from models.tiny.shapes import REACH, can_turn
from models.tiny.tracks import Lane, Stage, Track, draw_track, is_hidden, split_stage
from models.tiny.training import Draws

STAGES = [Stage(64, 64), Stage(160, 96, 49), Stage(96, 160, 9)]


def place(track: Track, time: float) -> tuple[float, float, float]:
    """Returns centre and radius at a time in 0..1, by the definition of a track."""
    (x, y), (end_x, end_y) = track.start, track.end
    turn = track.phase + math.tau * time
    return (
        x + (end_x - x) * time + track.orbit * math.cos(turn),
        y
        + (end_y - y) * time
        + track.orbit * math.sin(turn)
        - track.hop * abs(math.sin(math.tau * time)),
        track.start_radius + (track.end_radius - track.start_radius) * time,
    )


def assert_inside(track: Track, lane: Lane) -> None:
    """The shape keeps a pixel clear of its lane's border, however it is turned."""
    for step in range(33):
        x, y, radius = place(track, step / 32)
        reach = radius * REACH + 1
        assert lane.left + reach < x < lane.right - reach
        assert lane.top + reach < y < lane.bottom - reach


def test_the_vocabulary_is_as_large_as_the_card_says() -> None:
    assert (len(COLOURS), len(SHAPES), len(MOTIONS), len(BACKGROUNDS)) == (12, 8, 15, 8)
    assert sum(top != bottom for top, bottom in BACKGROUNDS.values()) == 3, "blended backgrounds"


def test_combinations_hold_every_word_on_both_sides_of_the_split() -> None:
    rng = Draws(1, 0).rng
    for held_out in (False, True):
        drawn = [draw_combination(rng, held_out=held_out) for _ in range(3000)]
        assert {is_held_out(each) for each in drawn} == {held_out}
        things = [thing for each in drawn for thing in each.things]
        assert {each.colour for each in things} == set(COLOURS)
        assert {each.shape for each in things} == set(SHAPES)
        assert {each.motion for each in things} == set(MOTIONS)
        assert {each.background for each in drawn} == set(BACKGROUNDS)
        assert {each.relation for each in drawn} == {None, *RELATIONS}


def test_the_split_never_changes() -> None:
    # The weights are trained on one side of it; a new split would void every score.
    rng = Draws(2, 0).rng
    drawn = [draw_combination(rng, held_out=True) for _ in range(2)]
    assert drawn == [
        Combination((Thing("green", "triangle", "left"),), "white"),
        Combination((Thing("lime", "heart", "down"),), "sunset"),
    ]


def test_whatever_is_drawn_can_be_seen() -> None:
    rng = Draws(3, 0).rng
    for _ in range(2000):
        drawn = draw_combination(rng)
        assert (len(drawn.things) == 2) is (drawn.relation is not None)
        for thing in drawn.things:
            assert has_contrast(thing.colour, drawn.background)
            assert can_turn(thing.shape) or thing.motion != "rotating"
            if drawn.relation:
                assert thing.motion in PAIR_MOTIONS[drawn.relation]
        if drawn.relation:
            one, other = (COLOURS[thing.colour] for thing in drawn.things)
            assert math.dist(one, other) >= MIN_CONTRAST


@pytest.mark.parametrize(
    ("colour", "background"), [("white", "white"), ("green", "gray"), ("blue", "sky")]
)
def test_pairs_that_nobody_can_see_are_left_out(colour: str, background: str) -> None:
    assert not has_contrast(colour, background)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("motion", MOTIONS)
def test_a_single_shape_stays_in_the_frame_and_moves_as_named(motion: str, stage: Stage) -> None:
    rng = Draws(4, 0).rng
    lane = Lane(0, 0, stage.width, stage.height)
    for _ in range(100):
        track = draw_track(motion, lane, stage, rng)
        assert_inside(track, lane)
        step = (track.end[0] - track.start[0], track.end[1] - track.start[1])
        wanted = DIRECTIONS.get(motion, (0, 0))
        assert all(way == 0 for way, sign in zip(step, wanted, strict=True) if sign == 0)
        for way, sign in zip(step, wanted, strict=True):
            assert way * sign >= 14 * stage.pace * stage.unit * abs(sign)
        growth = (track.end_radius / track.start_radius) ** 2
        assert (growth > 3, growth < 1 / 3) == (motion == "growing", motion == "shrinking")
        extras = (track.orbit > 0, track.hop > 0, track.spin > 0, track.is_blinking)
        assert extras == tuple(
            motion == each for each in ("circling", "bouncing", "rotating", "blinking")
        )


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("relation", RELATIONS)
def test_two_shapes_stay_apart_and_as_their_relation_says(relation: str, stage: Stage) -> None:
    rng = Draws(5, 0).rng
    axis = 1 if relation in ("above", "below") else 0
    sign = -1 if relation in ("above", "left of") else 1
    for _ in range(100):
        lanes = split_stage(stage, relation, rng)
        motions = PAIR_MOTIONS[relation]
        tracks = [draw_track(rng.choice(motions), lane, stage, rng) for lane in lanes]
        for track, lane in zip(tracks, lanes, strict=True):
            assert_inside(track, lane)
        for step in range(5):
            first, second = (place(track, step / 4) for track in tracks)
            assert (first[axis] - second[axis]) * sign > first[2] + second[2]


def test_a_thing_goes_no_faster_in_a_short_clip_and_a_still_begins_like_a_clip() -> None:
    assert [Stage(64, 64, count).pace for count in (1, 7, 17, 49)] == [1.0, 0.5, 1.0, 1.0]


def test_a_blinking_shape_starts_in_sight_and_takes_turns_of_four_frames() -> None:
    hidden = [frame for frame in range(17) if is_hidden(frame)]
    assert hidden == [5, 6, 7, 8, 13, 14, 15, 16]


def test_the_harder_of_two_things_says_how_often_a_combination_is_trained_on() -> None:
    easy, turning = Thing("red", "circle", "up"), Thing("blue", "star", "rotating")
    assert training_weight(Combination((easy,), "white")) == 1
    assert training_weight(Combination((easy, turning), "white", "above")) == 4


def test_both_sorts_of_combination_are_common() -> None:
    rng = Draws(6, 0).rng
    counts = Counter(len(draw_combination(rng).things) for _ in range(1000))
    assert 0.25 < counts[2] / 1000 < 0.45


def test_the_scored_combinations_are_held_out_and_always_the_same() -> None:
    scored = list_held_out(64)
    assert all(is_held_out(each) for each in scored)
    assert len(set(scored)) > 60
    assert scored == list_held_out(65)[:64]
