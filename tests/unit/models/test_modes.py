"""Modes of a card: what is written short and long, what goes together, what is refused."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from models.adapters.placement import Offload, choose_placement
from models.card import ModelCard, SpecError
from models.spec import VideoSpec

MakeSpec = Callable[..., VideoSpec]
MakeCard = Callable[..., ModelCard]


def test_a_number_is_short_for_steps(make_card: MakeCard) -> None:
    short = make_card(modes={"standard": 8, "pro": {"num_inference_steps": 4}})
    assert [short.steps_of(mode) for mode in ("standard", "pro")] == [8, 4]
    assert short.guidance_of("pro") == short.guidance_scale.default


@pytest.mark.parametrize(
    ("mode", "problem"),
    [
        ({"num_inference_steps": 9}, "has 9 steps, outside num_inference_steps"),
        ({"num_inference_steps": 4, "guidance_scale": 9.0}, "has guidance 9.0, outside"),
        ({"num_inference_steps": 4, "sigmas": [1.0, 0.5]}, "4 steps need as many sigmas"),
        ({"num_inference_steps": 2, "sigmas": [0.5, 1.0]}, "sigmas must fall from 1"),
        ({"num_inference_steps": 2, "sigmas": [1.0, 0.0]}, "sigmas must fall from 1"),
        ({"num_inference_steps": 1, "sigmas": [1.0], "flow_shift": 3.0}, "leave out flow_shift"),
        ({"num_inference_steps": 4, "cache": {"kind": "magic"}}, "cache.kind"),
        ({"num_inference_steps": 4, "attention": "flash_hub"}, "attention"),
        ({"num_inference_steps": 4, "lora": "../elsewhere.safetensors"}, "lora"),
        ({"num_inference_steps": 4, "lora": "weights.bin"}, "lora"),
        (True, "modes.fast"),
    ],
)
def test_a_mode_that_makes_no_sense_is_refused(
    make_card: MakeCard, mode: object, problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        make_card(modes={"fast": mode})


@pytest.mark.parametrize(
    ("changes", "param", "limit"),
    [
        ({"guidance_scale": 3.0}, "guidance_scale", [1.0, 1.0]),
        ({"negative_prompt": "fog"}, "negative_prompt", 0),
        ({"num_inference_steps": 3}, "num_inference_steps", [4, 4]),
    ],
)
def test_a_distilled_mode_has_its_own_guidance_and_schedule(
    make_card: MakeCard,
    make_spec: MakeSpec,
    changes: dict[str, object],
    param: str,
    limit: object,
) -> None:
    fast = {"num_inference_steps": 4, "guidance_scale": 1.0, "sigmas": [1.0, 0.9, 0.7, 0.4]}
    card = make_card(modes={"standard": 8, "fast": fast})
    spec = make_spec(mode="fast", num_inference_steps=4, guidance_scale=card.guidance_of("fast"))
    card.check(spec)
    assert card.fewest_steps_of("fast") == 4
    assert card.fewest_steps_of("standard") == card.num_inference_steps.min
    with pytest.raises(SpecError) as refusal:
        card.check(spec.model_copy(update=changes))
    assert (refusal.value.param, refusal.value.limit) == (param, limit)


def test_specs_of_two_modes_are_not_rendered_together(make_spec: MakeSpec) -> None:
    one, other = make_spec(mode="quality"), make_spec(mode="fast")
    assert one.batch_key != other.batch_key


@pytest.mark.parametrize(
    ("free_bytes", "offload", "reason"),
    [
        (100, Offload.NONE, "all weights, 60 bytes, fit into 70"),
        (70, Offload.MODEL, "60 bytes do not fit into 49; transformer, 40, does"),
        (50, Offload.GROUP, "transformer alone, 40 bytes, does not fit into 35"),
    ],
)
def test_weights_wait_in_host_memory_where_the_device_is_small(
    free_bytes: int, offload: Offload, reason: str
) -> None:
    parts = {"transformer": 40, "text_encoder": 20}
    placement = choose_placement(parts, free_bytes)
    assert (placement.offload, placement.reason) == (offload, reason)
