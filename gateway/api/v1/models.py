"""`/v1/models`: what is served, with limits and prices."""

from fastapi import APIRouter

from gateway.api.deps import CallerDep, ServicesDep
from gateway.api.v1.schemas import ModelObject, ModelPage, model_object
from gateway.domain.errors import NotFound
from gateway.services import Configuration
from models.card import ModelCard

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
def list_models(_caller: CallerDep, services: ServicesDep) -> ModelPage:
    """Every model; the first is the default."""
    configuration = services.configuration
    return ModelPage(data=[_to_wire(card, configuration) for card in configuration.catalog.models])


@router.get("/{model_id}")
def get_model(model_id: str, _caller: CallerDep, services: ServicesDep) -> ModelObject:
    """One model."""
    card = services.configuration.catalog.find(model_id)
    if card is None:
        raise NotFound(f"no model {model_id!r}", param="model")
    return _to_wire(card, services.configuration)


def _to_wire(card: ModelCard, configuration: Configuration) -> ModelObject:
    return model_object(card, configuration.prices)
