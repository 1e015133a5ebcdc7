"""Files given with a request, fetched into the attempt's folder, each where the renderer looks."""

from pathlib import Path
from typing import cast

from gateway.protocol import REFERENCES, Assignment, InputFile, InputRole, LabelFields
from tests.unit.workers.test_small_parts import ORDER
from workers.gateway_client import GatewayClient
from workers.inputs import fetch_inputs
from workers.spool import AttemptFolder


class PaperGateway:
    """Has a file at every address: the address itself."""

    def fetch_input(self, source: InputFile, target: Path) -> None:
        """Write it."""
        target.write_text(source.url, "utf-8")


def test_pictures_go_where_their_roles_say(tmp_path: Path) -> None:
    roles = [REFERENCES[1], InputRole.LAST_IMAGE, REFERENCES[0], InputRole.IMAGE]
    assignment = Assignment(
        job_id="job",
        attempt=1,
        spec=ORDER.spec,
        inputs=[InputFile(role=role, url=role, sha256="", size_bytes=1) for role in roles],
        label=LabelFields(producer="p", produce_id="job"),
        deadline_s=1,
        lease_s=1,
        heartbeat_s=1,
    )
    gateway = cast("GatewayClient", PaperGateway())
    spec = fetch_inputs(gateway, assignment, AttemptFolder(tmp_path), give_up=lambda: False)
    assert spec.image is not None
    assert spec.last_image is not None
    found = [path.read_text("utf-8") for path in (spec.image, spec.last_image)]
    assert found == ["image", "last_image"]
    told = [path.read_text("utf-8") for path in spec.reference_images]
    assert told == ["reference_1", "reference_2"]
