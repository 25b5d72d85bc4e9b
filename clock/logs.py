"""Logs: one JSON object a line, on standard output, or on standard error where a command answers on the other. Never a
token, a mobile number or a payment's payload."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
    structlog.processors.format_exc_info,
]


def configure(process: str, to: TextIO = sys.stdout) -> None:
    """``process`` names the writer in every line; what libraries log comes out the same way."""
    render = structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[*SHARED, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(to),
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(to)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=SHARED))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
