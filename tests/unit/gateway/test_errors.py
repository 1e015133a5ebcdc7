"""Every refusal has a status, a stable code, and a place in the drawn tree."""

from gateway.api.errors import status_of
from gateway.domain import errors
from gateway.domain.errors import GatewayError


def tree(cls: type[GatewayError]) -> list[type[GatewayError]]:
    """`cls` and all below it."""
    return [cls, *(below for child in cls.__subclasses__() for below in tree(child))]


def test_every_error_has_a_status_and_a_code() -> None:
    for cls in tree(GatewayError)[1:]:
        status, kind = status_of(cls)
        assert 400 <= status < 600
        assert kind.endswith(("_error", "_quota"))
        assert cls.code == cls.code.lower()


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in tree(GatewayError)[1:]]
    assert sorted(codes) == sorted(set(codes))


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = {
        line.split()[1]
        for line in (errors.__doc__ or "").splitlines()
        if "+-" in line
        for line in [line.replace("|", "").strip()]
    }
    assert drawn == {cls.__name__ for cls in tree(GatewayError)[1:]}
