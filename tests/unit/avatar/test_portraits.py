"""Pictures as people send them: which are taken, which are refused, and with what words."""

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.avatar.faces import Faces
from models.avatar.portrait import choose_face, read_picture
from models.pipeline import Frame, InputRefused
from models.refusal import Refusal
from tests.support.portrait import draw_portrait

TURNED_RIGHT = 6
"""EXIF orientation: the camera was held on its side, so the picture is to be turned clockwise."""

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def portrait() -> Frame:
    return draw_portrait(480)


def refusal(picture: Frame, faces: Faces, index: int | None = None) -> InputRefused:
    with pytest.raises(InputRefused) as caught:
        choose_face(picture, faces, index)
    return caught.value


def shipped(name: str) -> Frame:
    """A picture of the package scikit-image."""
    with as_file(files("skimage") / "data" / name) as path:
        return read_picture(path)


def test_a_photo_of_a_person_is_taken(faces: Faces) -> None:
    mesh = choose_face(shipped("astronaut.png"), faces, None)
    assert mesh.points[1, :2] == pytest.approx([227, 126], abs=12)


@pytest.mark.parametrize("name", ["coffee.png", "brick.png"])
def test_a_picture_of_no_face_is_refused(name: str, faces: Faces) -> None:
    assert refusal(shipped(name), faces).code in (Refusal.NO_FACE, Refusal.FACE_OCCLUDED)


def test_an_empty_picture_has_no_face(faces: Faces) -> None:
    error = refusal(np.full((300, 400, 3), 127, np.uint8), faces)
    assert (error.code, error.message) == (
        Refusal.NO_FACE,
        "The image has no face that can be recognised.",
    )


def test_a_cat_is_no_speaker(faces: Faces) -> None:
    assert refusal(shipped("chelsea.png"), faces).code in (Refusal.NO_FACE, Refusal.FACE_OCCLUDED)


def test_of_two_faces_one_must_be_chosen(faces: Faces, portrait: Frame) -> None:
    two = np.hstack([portrait, portrait])
    error = refusal(two, faces)
    assert error.code == Refusal.MULTIPLE_FACES
    assert "2 faces; choose one with `face`, 0 to 1" in error.message
    left, right = (choose_face(two, faces, index).points[1, 0] for index in (0, 1))
    assert (left, right) == pytest.approx((240, 720), abs=15)
    assert refusal(two, faces, 2).code == Refusal.FACE_NOT_FOUND


def test_a_tiny_face_is_refused_with_its_size(faces: Faces, portrait: Frame) -> None:
    small = np.asarray(Image.fromarray(portrait).resize((120, 120), Image.Resampling.LANCZOS))
    error = refusal(small, faces)
    assert error.code == Refusal.FACE_TOO_SMALL
    assert "at least 40 are needed" in error.message


def test_a_covered_face_is_refused(faces: Faces) -> None:
    covered = shipped("astronaut.png").copy()
    covered[100:190, 170:290] = (20, 60, 30)
    assert refusal(covered, faces).code in (Refusal.FACE_OCCLUDED, Refusal.NO_FACE)


def test_a_picture_that_says_how_it_was_held_comes_upright(
    tmp_path: Path, faces: Faces, portrait: Frame
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    lying = Image.fromarray(np.rot90(portrait).copy())
    lying.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = read_picture(tmp_path / "a.jpg")
    assert np.abs(upright.astype(int) - portrait).mean() < 4
    assert choose_face(upright, faces, None).points[10, 1] < 240


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path, portrait: Frame) -> None:
    for mode in ("L", "RGBA", "P"):
        Image.fromarray(portrait).convert(mode).save(tmp_path / "a.png")
        assert read_picture(tmp_path / "a.png").shape == (480, 480, 3)
