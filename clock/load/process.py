"""A process of a load test: ``python -m clock.load.process`` reads a :class:`Job` from its input and says on its
output, line by line, how far it is (:class:`Told`)."""

import os
import signal
import sys
from datetime import date
from pathlib import Path
from time import monotonic, sleep, time

import msgspec

from clock import descriptors
from clock.load.generator import CannotConnect, Generator
from clock.load.job import Job, Told
from clock.load.journal import Writer
from clock.load.players import BadKey

TELL_SECONDS = 0.5
CONNECT_SECONDS = 1.0
"""So long before the start, connections that the target has closed are opened again."""


def say(told: Told) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


def play(job: Job) -> None:
    """The start is given, as seconds since the epoch, in the second line of the input."""
    descriptors.raise_limit()
    writer = Writer(Path(job.journal), date.fromisoformat(job.day_zero), job.day_zero_ms) if job.journal else None
    generator = Generator(job, writer)
    generator.prepare()
    generator.connect()
    say(Told("ready"))
    line = sys.stdin.buffer.readline()
    if not line:
        return
    start = monotonic() + float(line) - time()
    sleep(max(0.0, start - CONNECT_SECONDS - monotonic()))
    generator.connect()
    sleep(max(0.0, start - monotonic()))
    signal.signal(signal.SIGTERM, lambda *_: generator.stop())
    told_at, result = 0.0, generator.result
    for _ in generator.run(start):
        if monotonic() - told_at >= TELL_SECONDS:
            told_at = monotonic()
            p99_us = result.answers.percentile_us(99)
            say(Told("at", result.planned, result.answers.count, result.errors, p99_us, result.late_us))
    if writer:
        writer.close()
    say(Told("done", result=msgspec.Raw(msgspec.json.encode(result))))


def main() -> None:
    try:
        play(msgspec.json.decode(sys.stdin.buffer.readline(), type=Job))
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more, and nothing is left to be written
    except (CannotConnect, BadKey, OSError) as error:
        say(Told("failed", reason=str(error)))


if __name__ == "__main__":
    main()
