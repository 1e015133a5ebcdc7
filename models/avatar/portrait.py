"""Which face of a picture speaks, and whether the picture can carry it. Before any drawing."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.avatar.faces import Faces, Mesh
from models.pipeline import Frame, InputRefused
from models.refusal import Refusal

MIN_MESH_SCORE = 0.8
MIN_EYE_DISTANCE_PX = 40.0


def read_picture(path: Path) -> Frame:
    """The picture at `path`, upright, uint8 [H, W, 3] RGB; grey ones become RGB too."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)


def choose_face(picture: Frame, faces: Faces, index: int | None) -> Mesh:
    """Measure the face of `picture` that is to speak.

    Args:
        picture: uint8 [H, W, 3], RGB.
        faces: the networks.
        index: counted from the left and from 0; None where the picture must hold just one.

    Raises:
        InputRefused: no face, several, not that many, too small, or covered.
    """
    boxes = faces.find(picture)
    # The detector alone takes a cat for a face; the mesh does not.
    meshes = [faces.measure_twice(picture, box) for box in boxes]
    clear = [mesh for mesh in meshes if mesh.score >= MIN_MESH_SCORE]
    if not clear:
        raise _no_clear_face(meshes)
    return _big_enough(_pick(clear, index))


def _no_clear_face(meshes: list[Mesh]) -> InputRefused:
    if not meshes:
        return InputRefused(Refusal.NO_FACE, "The image has no face that can be recognised.")
    best = max(mesh.score for mesh in meshes)
    return InputRefused(
        Refusal.FACE_OCCLUDED,
        f"The face in the image is covered or not a human one: it scores {best:.2f}, "
        f"at least {MIN_MESH_SCORE:.2f} is needed.",
    )


def _pick(meshes: list[Mesh], index: int | None) -> Mesh:
    count = len(meshes)
    if index is None and count > 1:
        raise InputRefused(
            Refusal.MULTIPLE_FACES,
            f"The image has {count} faces; choose one with `face`, 0 to {count - 1} from the left.",
        )
    if index is not None and index >= count:
        raise InputRefused(
            Refusal.FACE_NOT_FOUND,
            f"`face` is {index}, but the image has {count}; they count from 0, from the left.",
        )
    return meshes[index or 0]


def _big_enough(mesh: Mesh) -> Mesh:
    if mesh.eye_distance < MIN_EYE_DISTANCE_PX:
        raise InputRefused(
            Refusal.FACE_TOO_SMALL,
            f"The eyes are {mesh.eye_distance:.0f} pixels apart in the image; "
            f"at least {MIN_EYE_DISTANCE_PX:.0f} are needed.",
        )
    return mesh
