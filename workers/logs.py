"""Logs of the worker processes: one JSON object a line, or colours on a terminal.

Events are constant names with fields; RQ's own lines go through the same formatter, warnings only.
"""

import logging
import sys

import structlog


def configure_logging(level: str) -> None:
    """Send every log line of this process to stderr; called once by an entry point."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("rq", "rq.worker", "rq.job", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _renderers() -> list[structlog.typing.Processor]:
    if sys.stderr.isatty():
        # The default would print local variables, and with them prompts and tokens.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
