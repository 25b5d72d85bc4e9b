"""A result for people: lines of text, plots; and for programs: JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from clock.load.plots import Line, Plot, svg
from clock.load.result import Result

LONGEST_CURVE = 720
"""Points of a plot over time; longer runs are drawn in wider steps."""


def lines(result: Result) -> list[str]:
    sent_over = f"over {result.planned_s:,.1f} s ({_planned_rate(result)})" if result.planned_s else "at one instant"
    told = [
        f"{result.verb} at {result.url}, from {result.processes} process{'es' * (result.processes > 1)}",
        f"planned    {result.planned:,} {sent_over}",
        f"answered   {result.answers.count:,} within {result.seconds:,.1f} s: {result.per_second:,.0f}/s",
        f"besides    {result.doubled:,} double taps, {result.repeated:,} repeated, {result.held_back:,} held back by "
        f"Retry-After, {result.unsent:,} not sent",
        f"errors     {result.errors + result.unsent:,} ({100 * result.error_share:.2f} %)",
        "",
        _row("ms from the plan", ["p50", "p90", "p99", "p99.9", "max", "answers"]),
        _percentiles("each answer", result.answers),
        _percentiles("each operation", result.operations),
    ]
    often = sorted(result.codes, key=lambda code: -result.codes[code])
    told += [_percentiles(code, result.by_code[code]) for code in often]
    late_ms, most_ms = result.late_us / 1000, result.late.most_us / 1000
    told += ["", f"the generator itself was late by {late_ms:,.1f} ms at p99, {most_ms:,.1f} ms at most"]
    if not result.is_whole:
        told.append("INTERRUPTED: only what was planned until then was sent")
    if result.was_late:
        told.append(
            f"TOO LATE: the bound is {result.late_bound_us / 1000:g} ms. These figures are the generator's, not the "
            "target's: take a lower rate, more processes, or more hosts"
        )
    return told


def _planned_rate(result: Result) -> str:
    return f"{result.planned / result.planned_s:,.0f}/s"


def _percentiles(name: str, histogram: Any) -> str:
    return _row(name, [*(f"{ms:,.1f}" for ms in histogram.figures_ms().values()), f"{histogram.count:,}"])


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<26}" + "".join(f"{cell:>12}" for cell in cells)


def figures(result: Result, broken: Sequence[str]) -> dict[str, Any]:
    """``broken``: the thresholds that were."""
    return {
        "url": result.url,
        "verb": result.verb,
        "started_s": result.started_s,
        "seconds": result.seconds,
        "processes": result.processes,
        "planned": result.planned,
        "planned_per_second": result.planned / result.planned_s if result.planned_s else None,
        "answered": result.answers.count,
        "per_second": result.per_second,
        "doubled": result.doubled,
        "repeated": result.repeated,
        "held_back": result.held_back,
        "unsent": result.unsent,
        "errors": result.errors,
        "error_share": result.error_share,
        "codes": result.codes,
        "answers_ms": result.answers.figures_ms(),
        "operations_ms": result.operations.figures_ms(),
        "by_code_ms": {code: histogram.figures_ms() for code, histogram in result.by_code.items()},
        "late_ms": result.late.figures_ms(),
        "late_bound_ms": result.late_bound_us / 1000,
        "was_late": result.was_late,
        "is_whole": result.is_whole,
        "broken_thresholds": list(broken),
    }


def plots(result: Result) -> list[Plot]:
    latency = [Line("each answer", result.answers.curve_ms()), Line("each operation", result.operations.curve_ms())]
    wide = -(-len(result.line) // LONGEST_CURVE) or 1
    chunks = [(at * result.step_s, result.line[at : at + wide]) for at in range(0, len(result.line), wide)]
    rates = [
        Line(name, [(at, sum(getattr(one, name) for one in some) / len(some) / result.step_s) for at, some in chunks])
        for name in ("planned", "answered")
    ]
    longest = [(at, max(one.most_us for one in chunk) / 1000) for at, chunk in chunks]
    return [
        Plot(
            name="latency",
            title=f"{result.verb}: latency from the planned instant",
            x="percentile",
            y="ms",
            lines=latency,
            percentiles=True,
            log_y=True,
        ),
        Plot(name="rate", title=f"{result.verb}: requests over time", x="s", y="requests/s", lines=rates),
        Plot(name="longest", title=f"{result.verb}: the longest latency", x="s", y="ms", lines=[Line("", longest)]),
    ]


def write(result: Result, broken: Sequence[str], folder: Path) -> None:
    """``result.json``, which ``clock load merge`` reads, ``report.json``, ``report.txt``, and the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_bytes(msgspec.json.encode(result))
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures(result, broken))) + b"\n")
    (folder / "report.txt").write_text("\n".join(lines(result)) + "\n", "utf-8")
    if result.answers.count:
        for plot in plots(result):
            (folder / f"{plot.name}.svg").write_text(svg(plot), "utf-8")
