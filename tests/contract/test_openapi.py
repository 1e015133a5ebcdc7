"""The published API: a change of the wire shows up as a change of this file.

To accept one: `./run test tests/contract --publish-openapi`, and read the difference.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.app import create_app
from gateway.services import Services

PUBLISHED = Path(__file__).parents[2] / "docs" / "api" / "openapi.json"

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def described(services: Services) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    return create_app(services).openapi()


def test_the_published_document_is_the_real_one(
    services: Services, request: pytest.FixtureRequest
) -> None:
    document = described(services)
    if request.config.getoption("--publish-openapi"):
        PUBLISHED.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
    assert document == json.loads(PUBLISHED.read_text("utf-8"))


def test_every_public_route_documents_its_refusals(services: Services) -> None:
    document = described(services)
    for path, methods in document["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for operation in methods.values():
            answers = set(operation["responses"])
            assert {"400", "401", "404"} <= answers, path
            assert operation["summary"], path


def test_every_request_field_has_one_meaning(services: Services) -> None:
    content = described(services)["paths"]["/v1/videos"]["post"]["requestBody"]["content"]
    as_json = content["application/json"]["schema"]["properties"]
    as_form = content["multipart/form-data"]["schema"]["properties"]
    assert set(as_form) == set(as_json)
