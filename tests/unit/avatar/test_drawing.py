"""What is drawn, measured with the face networks where they have been fetched."""

import numpy as np
import pytest

from models.avatar.controls import Control, Floats, still
from models.avatar.drawing import Drawing
from models.avatar.faces import Faces, Mesh
from models.avatar.framing import make_plate
from models.avatar.lookahead import drawn_ahead
from models.avatar.portrait import choose_face
from models.pipeline import Frame
from models.spec import EmotionName
from tests.bench.avatar import feelings
from tests.support.portrait import draw_portrait

WIDTH, HEIGHT = 360, 480


@pytest.fixture(scope="module")
def portrait() -> Frame:
    return draw_portrait(480)


@pytest.fixture(scope="module")
def drawing(faces: Faces, portrait: Frame) -> Drawing:
    return Drawing(portrait, choose_face(portrait, faces, None).points, WIDTH, HEIGHT)


def row(**values: float) -> Floats:
    controls = still()
    for name, value in values.items():
        controls[Control[name]] = value
    return controls


def gap(mesh: Mesh) -> float:
    return float(np.linalg.norm(mesh.points[13] - mesh.points[14])) / mesh.eye_distance


def test_a_frame_has_the_size_that_was_asked_for(drawing: Drawing) -> None:
    frame = drawing(still())
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert frame.dtype == np.uint8


def test_the_mesh_sees_the_mouth_open_as_far_as_told(drawing: Drawing, faces: Faces) -> None:
    gaps = [gap(choose_face(drawing(row(OPEN=n)), faces, None)) for n in (0, 0.5, 1)]
    assert gaps[0] < 0.04
    assert gaps[0] + 0.03 < gaps[1] < gaps[2]


def test_a_head_that_turns_stays_a_face(drawing: Drawing, faces: Faces) -> None:
    ahead = choose_face(drawing(still()), faces, None)
    turned = choose_face(drawing(row(YAW=6)), faces, None)
    nose = (turned.points[1, 0] - ahead.points[1, 0]) / ahead.eye_distance
    assert nose > 0.03


def test_the_rim_never_shows(drawing: Drawing) -> None:
    far = drawing(row(PAN_X=1, PAN_Y=1, ZOOM=-1))
    assert far.min() >= 0
    assert np.abs(far[0].astype(int) - drawing(still())[0]).mean() < 12


def test_a_small_face_in_a_wide_picture_is_found(faces: Faces, portrait: Frame) -> None:
    wide = np.full((900, 2400, 3), 128, np.uint8)
    wide[200:680, 1500:1980] = portrait
    assert choose_face(wide, faces, None).points[1, 0] == pytest.approx(1740, abs=20)


def test_a_picture_that_does_not_fit_is_padded_and_keeps_its_face(
    faces: Faces, portrait: Frame
) -> None:
    close = portrait[60:360, 110:370]
    mesh = choose_face(close, faces, None)
    plate = make_plate(close, mesh.points, 640, 360)
    inside = (plate.points[:, :2] >= 0) & (plate.points[:, :2] < plate.picture.shape[1::-1])
    assert inside.all()


def test_one_thread_and_several_draw_the_same(drawing: Drawing) -> None:

    rows = [row(OPEN=n / 5) for n in range(6)]
    ahead = list(drawn_ahead(drawing, rows))
    assert all(np.array_equal(one, drawing(r)) for one, r in zip(ahead, rows, strict=True))


@pytest.mark.parametrize("name", list(feelings.SIGNS), ids=lambda name: name.value)
def test_a_feeling_shows_in_its_own_way_and_grows(
    name: EmotionName, drawing: Drawing, faces: Faces
) -> None:
    shown = feelings.measure_feeling("drawn", name, drawing, faces)
    assert shown.is_clear, shown.line()


def test_shut_lips_meet_and_eyes_are_covered(drawing: Drawing, faces: Faces) -> None:
    pressed = choose_face(drawing(row(PRESS=1)), faces, None)
    assert gap(pressed) < 0.04
    eye = choose_face(drawing(still()), faces, None).points[[159, 145], :2].mean(0).astype(int)
    opened, shut = (drawing(row(BLINK=n))[eye[1] - 6 : eye[1] + 4, eye[0]] for n in (0, 1))
    # An iris, a pupil and the white of the eye differ more than skin does.
    assert np.ptp(shut.mean(1)) < 0.6 * np.ptp(opened.mean(1))


def test_a_grey_portrait_gets_a_grey_mouth(faces: Faces, portrait: Frame) -> None:
    grey = np.repeat(portrait.mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
    draw = Drawing(grey, choose_face(grey, faces, None).points, WIDTH, HEIGHT)
    frame = draw(row(OPEN=1)).astype(int)
    assert np.ptp(frame, axis=2).max() <= 2
