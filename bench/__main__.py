"""``python -m bench [--quick] [QUESTION …]``: run the benchmarks one after the other and write their table."""

import argparse
import asyncio
import logging
from importlib import import_module
from time import monotonic

import structlog

from bench.measure import Result, Scale
from bench.report import say, write

QUESTIONS = (
    "generator",
    "check_in",
    "receipts",
    "peers",
    "cluster",
    "verbs",
    "callbacks",
    "inside_redis",
    "notifications",
    "herd",
    "summary",
    "beside",
    "overload",
    "drain",
    "settle",
    "day",
    "reconcile",
    "rebuild",
    "growth",
    "memory",
    "size",
    "page",
)


async def run(names: list[str], scale: Scale) -> list[Result]:
    results = []
    for name in names:
        began = monotonic()
        result: Result = await import_module(f"bench.{name}").run(scale)
        result.seconds = monotonic() - began
        say(result)
        results.append(result)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most five minutes; decides nothing")
    parser.add_argument("question", nargs="*", choices=[*QUESTIONS, []], help="default: all")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    names, scale = options.question or list(QUESTIONS), Scale(options.quick)
    results = asyncio.run(run(names, scale))
    if not options.question:
        write(results, scale)


if __name__ == "__main__":
    main()
