"""Brings the files given with a request into the attempt's folder and its spec."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from gateway.protocol import KEYFRAMES, Assignment, InputRole
from models.spec import SpokenAudio, VideoSpec
from workers.gateway_client import GatewayClient, InputDamaged
from workers.retrying import GaveUp, until_available
from workers.spool import AttemptFolder


def fetch_inputs(
    gateway: GatewayClient,
    assignment: Assignment,
    folder: AttemptFolder,
    *,
    give_up: Callable[[], bool],
) -> VideoSpec:
    """The assignment's spec with its inputs as local files.

    Raises:
        InputDamaged: a file differs from what was announced.
        GatewayError: a file is not to be had.
        GaveUp: `give_up()` became true while a file came, or while the gateway was away.
        OSError: the disk would not take a file.
    """
    spec = assignment.spec

    def heed() -> None:
        if give_up():
            raise GaveUp

    # By role, so that references come in their order.
    for source in sorted(assignment.inputs, key=lambda each: each.role):
        target = folder.path / f"input-{source.role}"
        until_available(partial(gateway.fetch_input, source, target, heed), give_up=give_up)
        spec = _with_input(spec, source.role, target)
    return spec


def _with_input(spec: VideoSpec, role: InputRole, path: Path) -> VideoSpec:
    match role:
        case InputRole.IMAGE:
            return spec.model_copy(update={"image": path})
        case InputRole.LAST_IMAGE:
            return spec.model_copy(update={"last_image": path})
        case InputRole.AUDIO:
            if spec.performance is None:
                raise InputDamaged("a recording came with a job that is no digital human")
            speech = SpokenAudio(path=path)
            performance = spec.performance.model_copy(update={"speech": speech})
            return spec.model_copy(update={"performance": performance})
        case _ if role in KEYFRAMES:
            return _with_keyframe(spec, KEYFRAMES.index(role), path)
        case _:
            references = (*spec.reference_images, path)
            return spec.model_copy(update={"reference_images": references})


def _with_keyframe(spec: VideoSpec, index: int, path: Path) -> VideoSpec:
    keyframes = [*spec.keyframes]
    if index >= len(keyframes):
        raise InputDamaged("a keyframe came that the job says nothing of")
    keyframes[index] = keyframes[index].model_copy(update={"image": path})
    return spec.model_copy(update={"keyframes": tuple(keyframes)})
