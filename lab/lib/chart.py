# SPDX-License-Identifier: GPL-2.0-or-later
"""Draws rates over time with the moments of switching, as SVG and PNG, by gnuplot."""
import os
import shutil
import subprocess

from .sandbox import LabError

FLOOR = 0.01  # Mbit/s: nothing at all is drawn here, since a logarithmic axis has no zero
MARKS = {True: ("on", "#2a7f2a"), False: ("off", "#b03020"), None: ("started again", "#606060")}
COLOURS = {"inspecting": "#2a7f2a", "probing": "#c08000", "open": "#b03020", "shut": "#801060"}  # of states
SIZES = {"svg": "svg size 960,640 dynamic background rgb 'white'", "png": "png size 1200,800"}


class Series:
    """One panel: points (seconds, rate) and marks (seconds, fail-open on or off; None: the transfer was started again;
    or a name, such as a state's)."""

    def __init__(self, title, points, switches, unit="Mbit/s", span=(FLOOR, 40000)):
        self.title = title
        self.points = points
        self.switches = switches
        self.unit = unit
        self.span = span


def base(path):
    """The name without .svg or .png: both are written."""
    root, ext = os.path.splitext(path)
    return root if ext in (".svg", ".png") else path


def draw(path, panels):
    """Writes path.svg and path.png; returns their names."""
    if not shutil.which("gnuplot"):
        raise LabError("gnuplot not found; install gnuplot-nox, or leave --chart out")
    written = []
    for kind, terminal in SIZES.items():
        target = f"{base(path)}.{kind}"
        done = subprocess.run(["gnuplot"], input=_script(terminal, target, panels), text=True, timeout=30,
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise LabError(f"gnuplot: {done.stderr.strip()}")
        written.append(target)
    return written


def _script(terminal, target, panels):
    lines = [f"set terminal {terminal}", f"set output '{_quote(target)}'", "set logscale y",
             "set grid ytics", "set key off", "set format y '%g'", f"set multiplot layout {len(panels)},1"]
    for number, panel in enumerate(panels):
        lines += _panel(number, panel, last=number == len(panels) - 1)
    lines.append("unset multiplot")
    return "\n".join(lines) + "\n"


def _panel(number, panel, last):
    if not panel.points:
        return [f"set title '{_quote(panel.title)}: nothing was measured'", "plot 1 with dots"]
    lines = [f"set yrange [{panel.span[0]}:{panel.span[1]}]", f"set ylabel '{_quote(panel.unit)}'",
             f"$points{number} << END"]
    lines += [f"{t:.3f} {max(rate, panel.span[0]):.4f}" for t, rate in panel.points]
    lines += ["END", "unset arrow", "unset label", f"set title '{_quote(panel.title)}'"]
    lines.append("set xlabel 'seconds'" if last else "unset xlabel")
    for t, on in panel.switches:
        name, colour = MARKS.get(on) or (on, COLOURS.get(on, "#606060"))
        lines.append(f"set arrow from {t:.3f}, graph 0 to {t:.3f}, graph 1 nohead lc rgb '{colour}' dt 2 lw 1.5")
        lines.append(f"set label '{_quote(name)}' at {t:.3f}, graph 0.95 offset 0.4,0 tc rgb '{colour}'")
    lines.append(f"plot $points{number} using 1:2 with lines lw 1.5 lc rgb '#2050a0'")
    return lines


def _quote(text):
    return text.replace("'", "''")
