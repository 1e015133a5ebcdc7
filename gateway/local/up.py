"""`reelgate up`: the whole system on this machine until somebody stops it."""

import shlex
import time
from collections.abc import Callable
from pathlib import Path

from gateway.local.demo import AVATAR_SIZE, MODEL, SECONDS, SIZE, SPOKEN_TEXT, TEXT_PROMPT
from gateway.local.portrait import draw_portrait
from gateway.local.probe import LOOPBACK, is_free
from gateway.local.processes import LocalError, Restarter
from gateway.local.stack import LocalStack

LOOK_EVERY_S = 0.5


def run_up(
    data_dir: Path, port: int, *, say: Callable[[str], None], show: Callable[[str], None]
) -> None:
    """Start everything with its data in `data_dir`, and restart what dies, until interrupted.

    Args:
        data_dir: kept; the next start finds jobs, videos and key again.
        port: of the gateway on 127.0.0.1.
        say: gets lines about what happens.
        show: gets address, key and an example, once everything runs.

    Raises:
        LocalError: `port` or `data_dir` is taken, or a part did not start.
        KeyboardInterrupt: the way this ends; everything has been stopped.
    """
    if not is_free(port):
        raise LocalError(f"port {port} on {LOOPBACK} is taken; choose another one with --port")
    with LocalStack(data_dir, port=port, say=say) as stack:
        show(_welcome(stack, data_dir))
        restarter = Restarter(stack.children, say)
        while True:
            restarter.step(time.monotonic())
            time.sleep(LOOK_EVERY_S)


def _welcome(stack: LocalStack, data_dir: Path) -> str:
    portrait = data_dir.absolute() / "portrait.png"
    portrait.write_bytes(draw_portrait())
    plain = {"model": MODEL, "prompt": TEXT_PROMPT, "seconds": SECONDS, "size": SIZE}
    talking = {
        "input_reference": f"@{portrait}",
        "speech[type]": "text",
        "speech[text]": SPOKEN_TEXT,
        "size": AVATAR_SIZE,
    }
    return (
        f"\nReelgate is ready at {stack.base_url}\n"
        f"demo key: {stack.api_key}\n"
        f"logs:     {stack.logs_dir}\n\n"
        f"Post a job:\n{_curl(stack, plain)}\n\n"
        f"Have a portrait speak:\n{_curl(stack, talking)}\n\n"
        "Look after it, in another terminal:\n"
        f". {shlex.quote(str(stack.operator_env))} && reelgate admin workers\n\n"
        "Ctrl-C stops everything.\n"
    )


def _curl(stack: LocalStack, form: dict[str, str]) -> str:
    fields = " ".join(f"-F {shlex.quote(f'{name}={value}')}" for name, value in form.items())
    return f"curl {stack.base_url}/v1/videos -H 'Authorization: Bearer {stack.api_key}' {fields}"
