# SPDX-License-Identifier: GPL-2.0-or-later
"""Row 'streams': 64 TCP streams at once, several rounds; does anything stay held, or memory grow?"""
import re
import time

from lib.traffic import Stream

RSS_SLACK = 1 << 20  # a process may fault in a few more pages; a packet forgotten each round would be far more
# One leaked packet takes 256 bytes of skbuff alone, and a round fail-opens hundreds of thousands.
SKB_SLACK = 8 << 20
SLAB_SLACK = 64 << 20


def row(bench):
    rounds, seconds = (2, 1) if bench.quick else (3, 4)
    memory, rates, held, ended = [], [], [], []
    with bench.interceptor(True) as interceptor:
        pids = interceptor.pids()
        for _ in range(rounds):
            streams = _round(bench, seconds)
            rates.append(streams.mbits())
            ended.append(streams.ended)
            held.append(interceptor.wait_held(0, timeout=10))
            time.sleep(0.5)
            memory.append(_memory(pids, memory[0] if memory else None))
        queue = interceptor.queue()
    report = bench.report
    report.figure("streams_64", "Mbit/s", rates, "64 streams together, fail-open on, a sample a round")
    report.check("streams_all_end", all(ended), f"both ends said goodbye in time, a round each: {ended}")
    report.check("streams_none_held", not any(held), f"held after each round: {held}")
    report.check("streams_none_lost", queue["lost"] == 0, f"lost {queue['lost']}, {queue['seen']:,} counted")
    for name in memory[0]:
        _compare(report, name, [sample[name] for sample in memory])


def _round(bench, seconds):
    """The rule stands while the streams run; connecting 64 of them at 50 ms a packet would take most of the time."""
    streams = Stream(bench.a, bench.b, seconds, parallel=64).start().running()
    with bench.queued("tcp"):
        time.sleep(max(streams.begun + seconds - time.monotonic(), 0))
    return streams.finish(patience=3)


def _slack(name):
    return {"slab_skbuff": SKB_SLACK, "slab_unreclaimable": SLAB_SLACK}.get(name, RSS_SLACK)


def _compare(report, name, samples):
    slack = _slack(name)
    report.figure("streams_" + name, "byte", samples, "after each round")
    report.check(f"streams_{name}_not_grown", samples[-1] <= samples[0] + slack,
                 f"{samples[0]:,} after the first round, {samples[-1]:,} after the last, {slack:,} allowed")


def _memory(pids, first, seconds=10):
    """As it is, or once it has come down again: the slab is the whole machine's, and others send packets, too."""
    end = time.monotonic() + seconds
    while True:
        now = _look(pids)
        if first is None or all(now[name] <= first[name] + _slack(name) for name in now) or time.monotonic() > end:
            return now
        time.sleep(0.2)


def _look(pids):
    """Bytes: each process's RSS, and the kernel's slab: the packets' own caches where they may be read."""
    found = {"rss_" + name: _resident(pid) for name, pid in pids.items()}
    try:
        with open("/proc/slabinfo", encoding="ascii") as f:
            rows = [line.split() for line in f if line.startswith("skbuff_")]
        found["slab_skbuff"] = sum(int(row[1]) * int(row[3]) for row in rows)
    except PermissionError:
        with open("/proc/meminfo", encoding="ascii") as f:
            found["slab_unreclaimable"] = int(re.search(r"SUnreclaim:\s+(\d+)", f.read()).group(1)) * 1024
    return found


def _resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024
