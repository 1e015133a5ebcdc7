"""What happens to accounts outside the API: purchases."""

from gateway.points.service import refresh
from gateway.points.subscriptions import change_plan
from gateway.services import Services


def set_plan(services: Services, account_id: str, plan_id: str) -> None:
    """Put the account on a plan as a purchase would."""
    plans, now = services.configuration.plans, services.clock.now()
    with services.database.write() as connection:
        refresh(connection, account_id, plans=plans, now=now)
        change_plan(connection, account_id, plans.get(plan_id), plans=plans, now=now)
