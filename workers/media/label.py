"""The label that says "this was generated", inside every file we hand out.

《人工智能生成合成内容标识办法》, in force since 2025-09-01: every generated file carries a label
in its metadata (article 5), also where a user wants no visible one (article 9). GB 45438-2025
annex E names the fields. TC260-PG-20257A places them in video files: plain JSON under the key
`AIGC` in `moov.udta.meta` of an MP4. Pictures carry that JSON in XMP.
"""

import json
import re
from pathlib import Path
from xml.sax.saxutils import escape, unescape

from PIL import Image

from workers.media.probe import UnreadableMedia, open_media

LABEL_KEY = "AIGC"
GENERATED = "1"
"""`Label`: 1 is generated; 2 (possibly) and 3 (suspected) are for platforms that relay files."""

REQUIRED_FIELDS = ("Label", "ContentProducer", "ProduceID")
MP4_FLAGS = "+faststart+use_metadata_tags"
"""Without `use_metadata_tags` FFmpeg drops the key in silence, also when it only copies a file."""

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_XMP_NAMESPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
_XMP_LABEL = re.compile(r"<TC260:AIGC>(.*?)</TC260:AIGC>", re.DOTALL)


class LabelMissing(Exception):
    """A file carries no label, a broken one, or another than it should."""


def build_label(producer: str, produce_id: str) -> dict[str, str]:
    """The label of one generated file, all values text.

    Args:
        producer: name or code of who runs the service (`ContentProducer`).
        produce_id: unique per file; we use the job id (`ProduceID`).

    Returns:
        The seven fields of GB 45438-2025 annex E. The propagator's two are for whoever passes the
        file on, the reserved two for a signature; they stay empty.
    """
    return {
        "Label": GENERATED,
        "ContentProducer": producer,
        "ProduceID": produce_id,
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }


def label_json(label: dict[str, str]) -> str:
    """`label` as files carry it: plain JSON in UTF-8, no Base64 (TC260-PG-20257A)."""
    return json.dumps(label, ensure_ascii=False, separators=(",", ":"))


def label_xmp(label: dict[str, str]) -> bytes:
    """`label` as an XMP packet for a picture: property `TC260:AIGC`."""
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:TC260="{_XMP_NAMESPACE}">'
        f"<TC260:AIGC>{escape(label_json(label))}</TC260:AIGC>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def read_label(path: Path) -> dict[str, str] | None:
    """The label in the video or picture at `path`, or None.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableMedia: it is neither a video nor a picture.
        LabelMissing: there is a label, but not one JSON object of texts.
    """
    text = _picture_text(path) if path.suffix.lower() in PICTURE_SUFFIXES else _video_text(path)
    if text is None:
        return None
    try:
        label = json.loads(text)
    except ValueError:
        raise LabelMissing(f"{path.name}: its {LABEL_KEY} label is not JSON") from None
    if not isinstance(label, dict) or not all(isinstance(value, str) for value in label.values()):
        raise LabelMissing(f"{path.name}: its {LABEL_KEY} label is not an object of texts")
    return label


def check_label(path: Path, expected: dict[str, str]) -> None:
    """Make sure that the file at `path` carries exactly `expected`.

    Raises:
        LabelMissing: none is there, or another; FileNotFoundError and UnreadableMedia as
            `read_label`.
    """
    found = read_label(path)
    if found is None:
        raise LabelMissing(f"{path.name} carries no {LABEL_KEY} label")
    wrong = sorted(key for key in expected | found if expected.get(key) != found.get(key))
    if wrong:
        raise LabelMissing(f"{path.name}: its label differs in {', '.join(wrong)}")


def _video_text(path: Path) -> str | None:
    with open_media(path) as container:
        return container.metadata.get(LABEL_KEY)


def _picture_text(path: Path) -> str | None:
    try:
        with Image.open(path) as picture:
            packet = picture.info.get("xmp", b"")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableMedia(f"{path.name} is not a picture") from error
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)
    match = _XMP_LABEL.search(text)
    return unescape(match[1]) if match else None
