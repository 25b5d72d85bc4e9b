"""Plots as SVG, by hand: axes, lines or bars, a legend. No dependency."""

from collections.abc import Callable
from html import escape
from math import floor, log10

import msgspec

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 74, 20, 44, 52
COLOURS = ("#4269d0", "#ff725c", "#3ca951", "#a463f2", "#efb118", "#9c6b4e")
TAIL = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)

Axis = Callable[[float], float]


class Line(msgspec.Struct, frozen=True):
    name: str
    points: list[tuple[float, float]]


class Plot(msgspec.Struct, frozen=True, kw_only=True):
    """``name`` is the file's name. ``percentiles``: x is a percentile, drawn with its tail stretched."""

    name: str
    title: str
    x: str
    y: str
    lines: list[Line]
    log_x: bool = False
    log_y: bool = False
    percentiles: bool = False
    bars: bool = False


def svg(plot: Plot) -> str:
    xs = [x for line in plot.lines for x, _ in line.points]
    ys = [y for line in plot.lines for _, y in line.points if y > 0 or not plot.log_y]
    if plot.bars:
        return _bars(plot)
    across, x_ticks = _tail_axis() if plot.percentiles else _axis(xs, plot.log_x)
    up, y_ticks = _axis(ys, plot.log_y)
    parts = [_frame(plot)]
    for at in x_ticks:
        parts.append(_text(_x(across(at)), HEIGHT - BOTTOM + 18, _label(at), "middle"))
    parts += _levels(up, y_ticks)
    for colour, line in zip(COLOURS, plot.lines, strict=False):
        points = " ".join(f"{_x(across(x)):.1f},{_y(up(y)):.1f}" for x, y in line.points if y > 0 or not plot.log_y)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    parts += _legend([line.name for line in plot.lines])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(plot: Plot) -> str:
    """A group for each name in ``plot.x`` (x is its index), with a bar for each line."""
    names = plot.x.split("|")
    up, ticks = _axis([0.0, *(y for line in plot.lines for _, y in line.points)], False)
    parts = [_frame(plot, "")]
    parts += _levels(up, ticks)
    group = (WIDTH - LEFT - RIGHT) / len(names)
    wide = group * 0.8 / len(plot.lines)
    for place, name in enumerate(names):
        parts.append(_text(LEFT + group * (place + 0.5), HEIGHT - BOTTOM + 18, name, "middle"))
    for number, (colour, line) in enumerate(zip(COLOURS, plot.lines, strict=False)):
        for x, y in line.points:
            left, top = LEFT + group * (x + 0.1) + wide * number, _y(up(y))
            tall = HEIGHT - BOTTOM - top
            parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{colour}"/>')
    parts += _legend([line.name for line in plot.lines])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _frame(plot: Plot, x_title: str | None = None) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="system-ui, sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{LEFT}" y="20" font-size="15">{escape(plot.title)}</text>',
            f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#888"/>',
            _text((LEFT + right) / 2, HEIGHT - 12, plot.x if x_title is None else x_title, "middle"),
            f'<text transform="rotate(-90)" x="{-(TOP + bottom) / 2:.0f}" y="16" text-anchor="middle">'
            f"{escape(plot.y)}</text>",
        ]
    )


def _levels(up: Axis, ticks: list[float]) -> list[str]:
    parts = []
    for at in ticks:
        y = _y(up(at))
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, y + 4, _label(at), "end"))
    return parts


def _legend(names: list[str]) -> list[str]:
    parts = []
    for place, (colour, name) in enumerate(zip(COLOURS, names, strict=False)):
        x = LEFT + 10 + 150 * place
        parts.append(f'<rect x="{x}" y="{TOP - 14}" width="12" height="4" fill="{colour}"/>')
        parts.append(_text(x + 18, TOP - 8, name, "start"))
    return parts


def _axis(values: list[float], logarithmic: bool) -> tuple[Axis, list[float]]:
    """Value to 0…1, and where the marks are."""
    high = max(values, default=1.0)
    if logarithmic:
        first, last = floor(log10(min(values, default=1.0))), -floor(-log10(high))
        last = max(last, first + 1)
        return lambda v: (log10(v) - first) / (last - first), [10.0**n for n in range(first, last + 1)]
    high = high or 1.0
    step = _step(high)
    top = step * -floor(-high / step)
    return lambda v: v / top, [step * n for n in range(round(top / step) + 1)]


def _tail_axis() -> tuple[Axis, list[float]]:
    """0 %, 50 %, 90 %, 99 % …: each additional nine has the same width."""

    def place(percent: float) -> float:
        return min(1.0, -log10(max(1e-4, 1 - percent / 100)) / 4)

    return place, list(TAIL)


def _step(high: float) -> float:
    raw = high / 5
    size = 10.0 ** floor(log10(raw))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 and value == round(value) else f"{value:g}"


def _x(part: float) -> float:
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(part: float) -> float:
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
