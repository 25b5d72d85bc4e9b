"""``python -m tests.faults``: the long run. The same seed injects the same faults at the same moments."""

import asyncio
import random
import sys

import click

from tests.faults.report import play, text_of


@click.command()
@click.option("--seed", type=int, default=None, help="Of a run to be replayed; a new one if not given.")
@click.option("--size", type=click.Choice(["small", "long"]), default="long", show_default=True)
@click.option("--topology", type=click.Choice(["one", "cluster"]), default="one", show_default=True)
@click.option("--channel", type=click.Choice(["platform", "wechat", "alipay"]), default="platform", show_default=True)
def main(seed: int | None, size: str, topology: str, channel: str) -> None:
    """Play whole rounds under faults; exit status 1 if anything is lost, paid twice or off by a fen."""
    seed = random.randrange(1 << 32) if seed is None else seed
    again = f"python -m tests.faults --channel {channel} --topology {topology} --size {size} --seed {seed}"
    print(again, flush=True)
    played = asyncio.run(play(seed, size, topology, channel))  # type: ignore[arg-type]
    print(text_of(played))
    failed = played.journal.failed or played.injector.failed
    if failed:
        print(f"\nReplay with: {again}")
    sys.exit(1 if failed else 0)


main()
