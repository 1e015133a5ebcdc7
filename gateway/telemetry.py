"""Logs and metrics, each described once, here.

Log events are constant names with fields; ids, never prompts, media links or keys.
"""

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram


def configure_logging(log_format: str) -> None:
    """Send structlog and the standard library's loggers to stderr, as JSON or for a console."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(noisy).handlers = []
        logging.getLogger(noisy).propagate = True
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)


class Metrics:
    """What one gateway process counts; queue depths are read from the database when scraped."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.http_requests = Counter(
            "reelgate_http_requests",
            "HTTP requests answered, by route template and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.jobs_finished = Counter(
            "reelgate_jobs_finished",
            "Jobs that reached a final state, by model and outcome.",
            ["model", "outcome"],
            registry=self.registry,
        )
        self.job_wait_seconds = Histogram(
            "reelgate_job_wait_seconds",
            "Seconds from submit to the first claim.",
            ["model"],
            registry=self.registry,
            buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600),
        )
        self.job_run_seconds = Histogram(
            "reelgate_job_run_seconds",
            "Seconds from the last claim to success.",
            ["model"],
            registry=self.registry,
            buckets=(0.5, 1, 5, 15, 60, 300, 900, 3600),
        )
