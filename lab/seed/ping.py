# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'ping': loss and round trip through the same queue and under the same load, fail-open on and off."""
import time

from lib.traffic import Stream, ping
from seed.drops import Drops

PATIENCE = 5  # seconds: one that is held waits for sixteen others, and is not lost


def row(bench):
    count, interval, wait = (10, 0.2, 1) if bench.quick else (25, 0.2, PATIENCE)
    load, drops = Stream(bench.a, bench.b, 60, parallel=4), Drops(bench.b)
    with bench.interceptor(True) as interceptor, bench.queued("tcp", "icmp"):
        try:
            load.start().running()
            with drops.phase(True):
                _measure(bench, "on", ping(bench.a, bench.b, count, interval, PATIENCE))
            interceptor.switch(False)
            with drops.phase(False):
                time.sleep(1)
                _measure(bench, "off", ping(bench.a, bench.b, count, interval, wait))
        finally:
            load.stop()
    drops.check(bench, "ping")
    lost = bench.report.get("ping_loss_on")["median"]
    bench.report.check("ping_none_lost_with_fail_open", lost == 0, f"{lost:g} % of {count} lost")


def _measure(bench, state, result):
    sent, received, times = result
    loss = 100 * (sent - received) / sent
    note = f"{sent} sent, four TCP streams as load, fail-open {state}"
    bench.report.figure("ping_loss_" + state, "%", [loss], note)
    if times:
        bench.report.figure("ping_round_trip_" + state, "ms", times, note)
    bench.tell(f"fail-open {state}: {loss:.0f} % lost" + (f", {max(times):.0f} ms at worst" if times else ""))
