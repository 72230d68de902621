# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run measured and checked: collecting, printing, writing as JSON in the contract's shape."""
import datetime
import json
import os
import platform
import statistics


class Report:
    """Figures and checks of one experiment."""

    def __init__(self, experiment, spillway_version, quick=False):
        self.head = {"version": 1, "experiment": experiment, "spillway": spillway_version,
                     "kernel": platform.release(), "cpus": len(os.sched_getaffinity(0)), "quick": quick,
                     "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")}
        self.figures = []
        self.checks = []

    def figure(self, name, unit, samples, note=""):
        """Samples are kept as measured; returns their median."""
        samples = [_round(s) for s in samples]
        median = _round(statistics.median(samples))
        self.figures.append({"name": name, "unit": unit, "median": median, "min": min(samples),
                             "max": max(samples), "samples": samples, "note": note})
        return median

    def check(self, name, holds, detail=""):
        self.checks.append({"name": name, "holds": bool(holds), "detail": detail})
        print(f"  {'holds' if holds else 'FAILS'}  {name}: {detail}", flush=True)
        return bool(holds)

    def get(self, name):
        """A figure by its name, or None."""
        return next((f for f in self.figures if f["name"] == name), None)

    def holds(self):
        return all(check["holds"] for check in self.checks)

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({**self.head, "figures": self.figures, "checks": self.checks}, f, indent=1)
            f.write("\n")

    def table(self):
        """All figures, for people."""
        rows = [("figure", "median", "min", "max", "n", "unit", "note")]
        for f in self.figures:
            rows.append((f["name"], show(f["median"]), show(f["min"]), show(f["max"]), str(len(f["samples"])),
                         f["unit"], f["note"]))
        return table(rows)


def _round(value):
    return round(value, 6) if isinstance(value, float) else value


def show(value):
    """A number with three digits that mean something."""
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(rows):
    """Lines of aligned columns; the second to the fifth column are numbers and stand right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if 1 <= i <= 4 else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
