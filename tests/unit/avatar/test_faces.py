"""Decoding of the detector and the choice of a face, on made-up detections."""

import numpy as np
import pytest

from models.avatar.faces import (
    FULL_STRIDES,
    NUM_POINTS,
    SHORT_STRIDES,
    Box,
    Crop,
    Mesh,
    anchors,
    overlap,
    without_doubles,
)
from models.avatar.portrait import _big_enough, _no_clear_face, _pick
from models.pipeline import InputRefused
from models.refusal import Refusal


def box(left: float, score: float = 0.9) -> Box:
    corners = np.array([left, 0, left + 10, 10], np.float32)
    return Box(corners, np.array([[left + 3, 4], [left + 7, 4]], np.float32), score)


def mesh(eye_distance: float) -> Mesh:
    points = np.zeros((NUM_POINTS, 3), np.float32)
    points[263, 0] = eye_distance
    return Mesh(points, 1.0)


def test_networks_have_as_many_anchors_as_outputs() -> None:
    assert anchors(128, SHORT_STRIDES).shape == (896, 2)
    assert anchors(192, FULL_STRIDES).shape == (2304, 2)


def test_a_turned_crop_puts_its_centre_in_the_middle_and_its_eyes_level() -> None:
    crop = Crop(np.array([40.0, 60.0]), 100.0, np.pi / 6)
    square = crop.to_square(192)
    along = np.array([40 + 20 * np.cos(np.pi / 6), 60 + 20 * np.sin(np.pi / 6), 1])
    assert square @ [40, 60, 1] == pytest.approx([96, 96])
    assert square @ along == pytest.approx([96 + 20 * 1.92, 96])


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(box(0), box(5)) == pytest.approx(1 / 3)
    assert overlap(box(0), box(20)) == 0


def test_a_face_that_is_seen_twice_counts_once() -> None:
    kept = without_doubles([box(0), box(1, 0.6), box(40, 0.5)])
    assert [one.score for one in kept] == [0.9, 0.5]


@pytest.mark.parametrize(
    ("count", "index", "code", "words"),
    [
        (2, None, Refusal.MULTIPLE_FACES, "2 faces"),
        (2, 2, Refusal.FACE_NOT_FOUND, "`face` is 2"),
    ],
)
def test_a_choice_that_cannot_be_made_says_how_many(
    count: int, index: int | None, code: Refusal, words: str
) -> None:
    with pytest.raises(InputRefused, match=words) as refused:
        _pick([mesh(60)] * count, index)
    assert refused.value.code == code


def test_the_index_counts_from_the_left() -> None:
    assert _pick([mesh(50), mesh(60)], 1).eye_distance == 60


def test_small_and_covered_faces_are_refused_with_numbers() -> None:
    with pytest.raises(InputRefused, match="39 pixels apart") as refused:
        _big_enough(mesh(39))
    assert refused.value.code == Refusal.FACE_TOO_SMALL
    assert _big_enough(mesh(40)).eye_distance == 40
    covered = _no_clear_face([Mesh(mesh(50).points, 0.04)])
    assert (covered.code, "0.04" in covered.message) == (Refusal.FACE_OCCLUDED, True)
