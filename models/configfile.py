"""YAML files read into validated values, with the line of every mistake.

YAML 1.2 through ruamel: `12:30` stays text, `on` stays text, a key written twice is an error.
Lowest in the order of `models`, so that the gateway's own files are read the same way.
"""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase
from ruamel.yaml.error import MarkedYAMLError, YAMLError

ModelT = TypeVar("ModelT", bound=BaseModel)
Location = tuple[int | str, ...]


class ConfigError(Exception):
    """A configuration file that cannot be used: `problems` holds one `file:line: key: why` each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def load_yaml_as(path: Path, model: type[ModelT]) -> ModelT:
    """Read the YAML file at `path` as an instance of `model`.

    Raises:
        ConfigError: the file is missing, is not YAML 1.2 in UTF-8, repeats a key, or does not fit
            `model`.
    """
    document = _read(path)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        problems = [
            f"{path}:{_line_of(document, found['loc'])}: {_dotted(found['loc'])}: {found['msg']}"
            for found in error.errors(include_url=False)
        ]
        raise ConfigError(problems) from None


def _read(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}:1: file: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: file: not UTF-8: {error.reason}"]) from None
    try:
        return YAML(typ="rt", pure=True).load(text) or {}
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{path}:{line}: file: {error.problem}"]) from None
    except YAMLError as error:
        raise ConfigError([f"{path}:1: file: {error}"]) from None


def _line_of(document: object, location: Location) -> int:
    """The 1-based line of the deepest part of `location` that the file holds."""
    line = 1
    node = document
    for part in location:
        if not isinstance(node, CommentedBase):
            break
        try:
            line = _line_of_child(node, part)
            node = node[part]  # type: ignore[index]  # a mapping or a sequence, as read
        except (KeyError, IndexError, TypeError):
            break
    return line


def _line_of_child(node: CommentedBase, part: int | str) -> int:
    position = node.lc.item(part) if isinstance(node, list) else node.lc.key(part)
    return int(position[0]) + 1


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location) or "file"
