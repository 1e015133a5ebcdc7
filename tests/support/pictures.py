"""Pictures of one colour, on their way from a request to the worker that fetches them."""

import io
from pathlib import Path

from PIL import Image

from gateway.protocol import Assignment
from tests.support.api import Client, png_bytes
from tests.support.talking import data_url

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}
_KINDS = "    kinds: [text_to_video, image_to_video]\n"


def offer_pictures(config_dir: Path, pictures: str) -> None:
    """Have the card of the default model in `config_dir` say `pictures` of them."""
    path = config_dir / "models.yaml"
    old = path.read_text("utf-8")
    assert _KINDS in old
    path.write_text(old.replace(_KINDS, f"{_KINDS}    pictures: {pictures}\n", 1), "utf-8")


def url(colour: str) -> str:
    """A picture as JSON carries it."""
    return data_url(png_bytes(colour=colour), "image/png")


def part(name: str, colour: str) -> tuple[str, tuple[str, bytes, str]]:
    """A picture as a part of a form."""
    return name, ("a.png", png_bytes(colour=colour), "image/png")


def colours(client: Client, job: Assignment) -> dict[str, str]:
    """The colour of every file that a worker fetches, by its role."""
    names = {bytes(value): name for name, value in COLOURS.items()}
    found = {}
    for file in job.inputs:
        with Image.open(io.BytesIO(client.http.get(file.url).content)) as image:
            found[str(file.role)] = names[image.convert("RGB").tobytes()[:3]]
    return found
