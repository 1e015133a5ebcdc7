"""The cards for GPUs are ready to be copied: they load, have prices, and name what they need."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.ltx2.utils import (
    DISTILLED_SIGMA_VALUES,
    STAGE_2_DISTILLED_SIGMA_VALUES,
)

from gateway.domain.pricing import load_prices, offered_specs
from models.adapters.family import DiffusersAdapter
from models.adapters.fitting import COMMON_OPTIONS, LOW_MEMORY_OPTIONS
from models.card import ModelCard, SpecError
from models.cardparts import parse_size
from models.catalog import load_catalog
from models.spec import Kind
from tests.bench.gpu.architectures import (
    WAN_21_1B3,
    WAN_22_5B,
    WAN_22_A14B,
    Architecture,
    build_wan,
)
from tests.conftest import ROOT

CONFIGS = ROOT / "configs"
CATALOG = load_catalog(CONFIGS / "models.gpu.yaml")
FAMILIES = [card for card in CATALOG.models if Kind.DIGITAL_HUMAN not in card.kinds]


def _adapter(card: ModelCard) -> type[DiffusersAdapter]:
    module, _, name = card.adapter.partition(":")
    found: type[DiffusersAdapter] = getattr(import_module(module), name)
    return found


def test_every_offer_has_a_price_and_dearer_modes_cost_more() -> None:
    prices = load_prices(CONFIGS / "pricing.gpu.yaml", CATALOG)
    for card in CATALOG.models:
        by_mode = {spec.mode: prices.quote(spec).points for spec in offered_specs(card)}
        assert [*by_mode.values()] == sorted(by_mode.values(), reverse=True), card.id


@pytest.mark.parametrize("card", FAMILIES, ids=lambda card: card.id)
def test_a_card_says_only_what_its_adapter_understands(card: ModelCard) -> None:
    adapter = _adapter(card)
    assert card.options.keys() <= COMMON_OPTIONS | adapter.options
    assert card.low_memory.keys() <= LOW_MEMORY_OPTIONS
    is_distilled = card.guidance_scale.max <= 1
    assert ({"fast"} if is_distilled else {"quality", "balanced"}) <= card.modes.keys()
    for mode in card.modes.values():
        assert mode.cache is None or mode.cache.kind in adapter.caches
        assert mode.sigmas is None or adapter.takes_sigmas
        assert mode.second_pass is None or adapter.takes_two_passes
    for spec in offered_specs(card):
        card.check(spec)


@pytest.mark.parametrize("card", FAMILIES, ids=lambda card: card.id)
def test_a_card_names_its_source_and_leaves_the_revision_to_the_operator(card: ModelCard) -> None:
    assert card.source is not None
    assert card.source.revision is None, "nobody has checked one"
    assert card.licence
    assert card.checkpoint_path(Path("/srv")).is_relative_to("/srv/weights")


def test_sound_is_offered_where_the_adapter_makes_it() -> None:
    makes = {card.id for card in FAMILIES if _adapter(card).make_sound is not _silent()}
    assert {card.id for card in CATALOG.models if card.audio == "out"} == makes
    assert makes == {"ltx-2.3", "ltx-2.3-distilled", "ltx-2.3-distilled-hd"}


def test_two_passes_are_those_of_the_authors_and_both_have_a_legal_size() -> None:
    card = CATALOG.find("ltx-2.3-distilled-hd")
    assert card is not None
    second_pass = card.modes["fast"].second_pass
    assert second_pass is not None
    assert second_pass.sigmas == STAGE_2_DISTILLED_SIGMA_VALUES
    assert all(side % 64 == 0 for size in card.sizes for side in parse_size(size))


@pytest.mark.parametrize("model", ["ltx-2.3-distilled", "ltx-2.3-distilled-hd"])
def test_the_fast_mode_of_ltx_2_is_the_schedule_of_its_authors_without_guidance(model: str) -> None:
    card = CATALOG.find(model)
    assert card is not None
    assert card.modes["fast"].sigmas == DISTILLED_SIGMA_VALUES
    for spec in offered_specs(card):
        assert (spec.guidance_scale, spec.num_inference_steps) == (1.0, 8)
    for param, value in (("guidance_scale", 3.0), ("negative_prompt", "fog")):
        with pytest.raises(SpecError) as refusal:
            card.check(spec.model_copy(update={param: value}))
        assert refusal.value.param == param


@pytest.mark.parametrize(
    ("model", "architecture", "experts"),
    [
        ("wan2.2-ti2v-5b", WAN_22_5B, ["transformer"]),
        ("wan2.1-t2v-1.3b", WAN_21_1B3, ["transformer"]),
        ("wan2.2-t2v-a14b", WAN_22_A14B, ["transformer", "transformer_2"]),
    ],
)
def test_the_bytes_of_weights_are_those_of_the_published_configurations(
    model: str, architecture: Architecture, experts: list[str]
) -> None:
    card = CATALOG.find(model)
    assert card is not None
    sizes = {
        name: sum(each.nbytes for each in (*part.parameters(), *part.buffers()))
        for name, part in build_wan(architecture, "meta").components.items()
        if isinstance(part, torch.nn.Module)
    }
    assert card.weights_bytes == sizes | dict.fromkeys(experts, sizes["transformer"])


def test_nothing_that_needs_a_gpu_is_served_out_of_the_box() -> None:
    served = [card.id for card in load_catalog(CONFIGS / "models.yaml").models]
    assert served == ["reel-tiny", "reel-avatar"]


def _silent() -> object:
    return DiffusersAdapter.make_sound
