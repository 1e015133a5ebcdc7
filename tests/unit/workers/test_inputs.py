"""Files given with a request, fetched into the attempt's folder, each where the renderer looks."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from gateway.protocol import KEYFRAMES, REFERENCES, Assignment, InputFile, InputRole, LabelFields
from models.cardparts import MAX_KEYFRAMES, MAX_REFERENCES
from models.spec import Keyframe, VideoSpec
from tests.unit.workers.test_small_parts import ORDER
from workers.gateway_client import GatewayClient, InputDamaged
from workers.inputs import fetch_inputs
from workers.retrying import GaveUp
from workers.spool import AttemptFolder


class PaperGateway:
    """Has a file at every address: the address itself."""

    def fetch_input(self, source: InputFile, target: Path, heed: Callable[[], None]) -> None:
        """Write it."""
        heed()
        target.write_text(source.url, "utf-8")


def fetched(
    folder: Path,
    roles: list[InputRole],
    give_up: Callable[[], bool] = lambda: False,
    **changes: object,
) -> VideoSpec:
    """The spec of a job that comes with files in `roles`."""
    assignment = Assignment(
        job_id="job",
        attempt=1,
        spec=ORDER.spec.model_copy(update=changes),
        inputs=[InputFile(role=role, url=role, sha256="", size_bytes=1) for role in roles],
        label=LabelFields(producer="p", produce_id="job"),
        deadline_s=1,
        lease_s=1,
        heartbeat_s=1,
    )
    gateway = cast("GatewayClient", PaperGateway())
    return fetch_inputs(gateway, assignment, AttemptFolder(folder), give_up=give_up)


def test_there_are_as_many_roles_as_a_card_may_promise_pictures() -> None:
    assert (len(REFERENCES), len(KEYFRAMES)) == (MAX_REFERENCES, MAX_KEYFRAMES)


def test_a_job_that_is_over_is_given_up_while_its_files_come(tmp_path: Path) -> None:
    with pytest.raises(GaveUp):
        fetched(tmp_path, [InputRole.IMAGE], give_up=lambda: True)


def test_keyframes_go_to_their_frames(tmp_path: Path) -> None:
    keyframes = (Keyframe(frame=3), Keyframe(frame=9))
    spec = fetched(tmp_path, [KEYFRAMES[1], KEYFRAMES[0]], keyframes=keyframes)
    told = {each.frame: each.image and each.image.read_text("utf-8") for each in spec.keyframes}
    assert told == {3: "keyframe_1", 9: "keyframe_2"}
    with pytest.raises(InputDamaged, match="a keyframe came"):
        fetched(tmp_path, [KEYFRAMES[2]], keyframes=keyframes)


def test_pictures_go_where_their_roles_say(tmp_path: Path) -> None:
    roles = [REFERENCES[1], InputRole.LAST_IMAGE, REFERENCES[0], InputRole.IMAGE]
    spec = fetched(tmp_path, roles)
    assert spec.image is not None
    assert spec.last_image is not None
    found = [path.read_text("utf-8") for path in (spec.image, spec.last_image)]
    assert found == ["image", "last_image"]
    told = [path.read_text("utf-8") for path in spec.reference_images]
    assert told == ["reference_1", "reference_2"]
