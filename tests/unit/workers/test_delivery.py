"""RQ's own signatures that we override, and what a delivery may not do."""

import inspect
import json
from collections.abc import Callable

import pytest
import redis
import rq
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.worker import SimpleWorker

from gateway.protocol import DELIVERY_FUNCTION
from workers.delivery import Delivery, DeliveryWorker, NoDeathPenalty, deliver

EXPECTED = {
    SimpleWorker.execute_job: ["self", "job", "queue"],
    SimpleWorker.run_maintenance_tasks: ["self"],
    SimpleWorker.subscribe: ["self"],
    SimpleWorker.heartbeat: ["self", "timeout", "pipeline"],
    SimpleWorker._install_signal_handlers: ["self"],
    Job.send_webhooks: ["self", "status", "exc_string"],
    BaseDeathPenalty.setup_death_penalty: ["self"],
    BaseDeathPenalty.cancel_death_penalty: ["self"],
}


def a_delivery(function: object) -> Delivery:
    job = Delivery("d1", connection=redis.Redis(), serializer=JSONSerializer)
    job.data = json.dumps((function, None, [], {})).encode()
    return job


def test_rq_is_the_version_that_the_overrides_were_written_for() -> None:
    version = tuple(int(part) for part in rq.__version__.split(".")[:2])
    assert (2, 12) <= version < (3, 0)


@pytest.mark.parametrize(("method", "parameters"), EXPECTED.items())
def test_overridden_methods_have_the_expected_signature(
    method: Callable[..., object], parameters: list[str]
) -> None:
    assert list(inspect.signature(method).parameters) == parameters


@pytest.mark.parametrize("ours", [DeliveryWorker, Delivery, NoDeathPenalty])
def test_every_override_overrides_something(ours: type) -> None:
    [base] = ours.__bases__
    marked = [name for name, value in vars(ours).items() if _is_override(value)]
    assert marked
    for name in marked:
        assert hasattr(base, name), name


def _is_override(value: object) -> bool:
    function = value.fget if isinstance(value, property) else value
    return bool(getattr(function, "__override__", False))


@pytest.mark.parametrize("name", ["func", "success_callback", "failure_callback"])
def test_what_a_job_runs_is_a_property(name: str) -> None:
    assert isinstance(inspect.getattr_static(Job, name), property)


def test_a_delivery_names_one_function_and_runs_nothing_else() -> None:
    forged = a_delivery("os.system")
    forged._success_callback_name = forged._failure_callback_name = "os.system"
    forged._stopped_callback_name = "os.system"

    assert a_delivery(DELIVERY_FUNCTION).is_doorbell
    assert not forged.is_doorbell
    assert not a_delivery(None).is_doorbell
    assert forged.func is deliver
    assert forged.success_callback is None
    assert forged.failure_callback is None
    assert forged.stopped_callback is None


def test_a_delivery_with_broken_data_is_none() -> None:
    job = a_delivery(DELIVERY_FUNCTION)
    job.data = b"\x80\x05."
    assert not job.is_doorbell


def test_the_delivery_function_exists_and_explains_itself() -> None:
    assert f"{deliver.__module__}.{deliver.__qualname__}" == DELIVERY_FUNCTION
    with pytest.raises(RuntimeError, match="reelgate worker"):
        deliver()
