"""The table: on the terminal, as JSON, as Markdown with plots."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.measure import Result, Scale, Spread, machine, versions
from clock.load.plots import svg

FOLDER = Path(__file__).parents[1] / "docs" / "bench"


def number(value: float) -> str:
    """Three digits that mean something."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread_text(measured: Spread) -> str:
    if measured.runs == 1:
        return number(measured.median)
    return f"{number(measured.median)} ({number(measured.low)}–{number(measured.high)}, {measured.runs} runs)"


def say(result: Result) -> None:
    print(f"\n{result.name}  ({result.seconds:.0f} s)", flush=True)
    for one in result.targets:
        verdict = "reached" if one.met else "MISSED"
        print(f"  {one.question} / {one.against}: {spread_text(one.measured)} {one.way} {one.wanted} {verdict}")
    for name, figure in result.figures.items():
        print(f"    {name}: {spread_text(figure)}")
    for name, note in result.notes.items():
        print(f"    {name}: {note}", flush=True)


def write(results: list[Result], scale: Scale) -> None:
    """``docs/bench/``: ``results.json``, ``results.md``, and a file a plot. A quick run writes ``quick/`` below it,
    which is not kept."""
    folder = FOLDER / "quick" if scale.quick else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),
        "quick": scale.quick,
        "machine": machine(),
        "versions": versions(),
    }
    document = msgspec.json.encode({**about, "results": results})
    (folder / "results.json").write_bytes(msgspec.json.format(document) + b"\n")
    for result in results:
        for plot in result.plots:
            (folder / f"{plot.name}.svg").write_text(svg(plot))
    (folder / "results.md").write_text(markdown(results, about))


def markdown(results: list[Result], about: dict[str, object]) -> str:
    lines = [
        "# What was measured",
        "",
        _sentence(about),
        "",
        "| question | against | measured | target | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for result in results:
        for one in result.targets:
            wanted = f"{'≥' if one.way == '>=' else '≤'} {number(one.wanted)} {one.unit}"
            verdict = "reached" if one.met else "**missed**"
            lines.append(f"| {one.question} | {one.against} | {spread_text(one.measured)} | {wanted} | {verdict} |")
    for result in results:
        lines += ["", f"## {result.name}", "", "| figure | |", "| --- | --- |"]
        lines += [f"| {name} | {spread_text(figure)} |" for name, figure in result.figures.items()]
        lines += [f"| {name} | {note} |" for name, note in result.notes.items()]
        for plot in result.plots:
            lines += ["", f"![{plot.title}]({plot.name}.svg)"]
    return "\n".join(lines) + "\n"


def _sentence(about: dict[str, object]) -> str:
    facts, used = about["machine"], about["versions"]
    assert isinstance(facts, dict) and isinstance(used, dict)
    mode = "a quick run, which decides nothing" if about["quick"] else "a full run"
    return (
        f"{about['at']}, {mode}: {facts['cores']} cores ({facts['cpu']}), {facts['memory_gib']} GiB, "
        f"{facts['system']} {facts['kernel']}, Python {facts['python']}, "
        + ", ".join(f"{name} {one}" for name, one in used.items())
        + ". Median (lowest–highest) of the repetitions. Everything is on these cores: load generator, API "
        "processes, Redis, Postgres."
    )
