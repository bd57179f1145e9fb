"""Two kinds of pictures, as SVG that reads well on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["bars", "lines"]

_WIDTH = 760
_LINE = 15
_INK, _OURS, _OTHERS, _GRID = "#7d8590", "#2f81f7", "#8b949e", "#7d859044"
_COLOURS = (_OURS, "#db6d28", "#3fb950")
_STYLE = f"<style>text{{font:13px system-ui,sans-serif;fill:{_INK}}}</style>"


def bars(title: str, values: Mapping[str, float], ours: Sequence[str]) -> str:
    """Bars from the least to the most, on a logarithmic scale; those named in `ours` stand out."""
    left, row, top = 310, 26, 40
    low, high = 10 ** math.floor(math.log10(min(values.values()))), max(values.values())
    unit = (_WIDTH - left - 90) / math.log10(high / low)
    parts = [_text(0, 18, title)]
    for number, (name, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        y = top + number * row
        width = max(2.0, unit * math.log10(value / low))
        colour = _OURS if name in ours else _OTHERS
        parts.append(_text(left - 8, y + 14, name, anchor="end"))
        parts.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{row - 8}" rx="2" fill="{colour}"/>')
        parts.append(_text(left + width + 6, y + 14, f"{value:,.1f}" if value < 100 else f"{value:,.0f}"))  # noqa: PLR2004
    return _svg(parts, top + len(values) * row)


def lines(title: str, series: Mapping[str, Sequence[float]], marks: Mapping[str, float]) -> str:
    """One value a second, a line a series; `marks` are horizontal lines with names."""
    left, top, height = 60, 40, 220
    most = 1.1 * max(*map(max, series.values()), *marks.values())
    longest = max(map(len, series.values()))
    right = _WIDTH - 120

    def at(second: float, value: float) -> tuple[float, float]:
        return left + (right - left) * second / max(1, longest - 1), top + height * (1 - value / most)

    parts = [_text(0, 18, title)]
    for name, value in marks.items():
        _, y = at(0, value)
        parts.append(
            f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_INK}" stroke-dasharray="4 4"/>'
        )
        parts.append(_text(left - 6, y + 4, name, anchor="end"))
    for second in range(0, longest, 5):
        x, y = at(second, 0)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(x, y + 18, f"{second} s", anchor="middle"))
    ends = {name: at(len(values) - 1, values[-1]) for name, values in series.items()}
    labels = _apart({name: y + 4 for name, (_, y) in ends.items()})
    for colour, (name, values) in zip(_COLOURS, series.items(), strict=False):
        points = [at(second, value) for second, value in enumerate(values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(ends[name][0] + 8, labels[name], name, colour=colour))
    return _svg(parts, top + height + 30)


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """The same heights, from the highest down, with room for a line of text between any two."""
    found: dict[str, float] = {}
    for name, y in sorted(heights.items(), key=lambda item: item[1]):
        found[name] = max([y, *(other + _LINE for other in found.values())])
    return found


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "") -> str:
    style = f' style="fill:{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _svg(parts: Sequence[str], height: int) -> str:
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">{_STYLE}{"".join(parts)}</svg>\n'
