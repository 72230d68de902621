# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints the experiment's table beside the figures of 2012."""
from lib.figures import show, table

THEN = {"tcp_fail_open_off": "0.16", "tcp_fail_open_on": "2292.82"}
ROWS = [("tcp_no_queue", "TCP stream, no queue"), ("tcp_fail_open_off", "TCP stream, fail-open off"),
        ("tcp_fail_open_on", "TCP stream, fail-open on"), ("gso_fail_open_off", "the same with GSO, off"),
        ("gso_fail_open_on", "the same with GSO, on"), ("scp_phase_1_off", "scp, switched off"),
        ("scp_phase_2_on", "scp, switched on"), ("scp_phase_3_off", "scp, off again"),
        ("scp_phase_4_on", "scp, on again"), ("streams_64", "64 streams, fail-open on")]


def show_table(report):
    rows = [("inspector of 50 ms, queue of 16, Mbit/s", "2012", "here", "min", "max", "runs")]
    for name, text in ROWS:
        figure = report.get(name)
        if figure:
            rows.append((text, THEN.get(name, "-"), show(figure["median"]), show(figure["min"]), show(figure["max"]),
                         str(len(figure["samples"]))))
    if len(rows) > 1:
        print("\n" + table(rows))
    if report.get("gso_fail_open_on"):
        print("With GSO, what is held are whole packets of up to 64 KiB: TCP stops sending before 16 of them wait, so\n"
              "the queue is hardly ever full and fail-open, though on, hardly ever acts. Length is the wrong trigger.")

