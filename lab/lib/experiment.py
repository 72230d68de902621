# SPDX-License-Identifier: GPL-2.0-or-later
"""What every experiment has in common: options, the two hosts, the report, parts that run one after the other."""
import argparse
import contextlib
import os
import re
import subprocess
import time

from . import chart, figures, hosts, interceptor, sandbox, tools


QUEUES = (0, 1)  # the numbers that experiments use


class Bench:
    """Handed to each part."""

    def __init__(self, a, b, binary, report, directory, options):
        self.a, self.b = a, b
        self.binary = binary
        self.report = report
        self.directory = directory  # temporary, on disk
        self.options = options
        self.quick = options.quick
        self.seed = options.seed
        self.nft = options.backend == "nft"
        self.panels = []  # what the chart will show

    def run(self, fail_open=True, **options):
        """A `spillway run` on b with the command's own defaults, and the options given."""
        for number in QUEUES:
            self.counter(number)
        given = {"length": None, "inspect": "accept", "gso": None, "deadline": None, "breaker": None, "hung": None,
                 "switch": None}
        given.update(options)
        return interceptor.Interceptor(self.b, self.binary, fail_open, **given)

    def tool(self, name):
        return tools.find(self.binary, name)

    @contextlib.contextmanager
    def rules(self, *rules, table="filter", family=4):
        """Rules (iptables words with -A) on b, deleted at the end. Deleting a rule drops nothing that is held."""
        added = []
        try:
            for rule in rules:
                self.b.iptables(f"-t {table} {rule}", family=family)
                added.append(rule)
            yield
        finally:
            for rule in added:
                self.b.iptables(f"-t {table} {rule.replace('-A', '-D', 1)}", family=family)

    def counter(self, number):
        """Makes the counter before a queue's rules, which the ledger reads; for iptables, the words of its match."""
        if not self.nft:
            return self.b.counter(number)
        self.b.run(["nft", f"add table inet spillway; add counter inet spillway spillway-{number}"])
        return ""

    def queued(self, *matches, number=0, at="INPUT -i eth0"):
        """What matches (iptables words: -p PROTOCOL [--dport PORT]) is counted and goes to the queue, past it where
        nobody is bound. `at`: the hook, as iptables words."""
        if self.nft:
            return self._queued_nft(matches, number, at.split()[0].lower())
        target = f"{self.counter(number)} -j NFQUEUE --queue-num {number} --queue-bypass"
        return self.rules(*(f"-A {at} {match} {target}" for match in matches))

    @contextlib.contextmanager
    def _queued_nft(self, matches, number, hook):
        """The same by the rules that `spillway rules` makes."""
        added = []
        try:
            for match in matches:
                traffic = match.replace("-p ", "--protocol ").replace("--dport ", "--port ").split()
                words = [self.binary, "rules", "--backend", "nft", "--queue", number, "--hook", hook, *traffic]
                self.b.run([*words, "--apply"])
                added.append(words)
            yield
        finally:
            for words in added:
                self.b.run([*words, "--remove"])

    def came(self, number=0):
        """What the rules of a queue have counted."""
        if not self.nft:
            return self.b.packets("filter", f"--queue-num {number} ", rules=None)
        text = self.b.run(["nft", f"list counter inet spillway spillway-{number}"]).stdout
        return int(re.search(r"packets (\d+)", text).group(1))

    def tell(self, text):
        print("  " + text, flush=True)

    def goal(self, name, holds, detail):
        """A check on times or rates: made in the full run alone."""
        if not self.quick:
            self.report.check(name, holds, detail)

    def many(self, full, quick):
        return quick if self.quick else full


def options(name, description, parts, more=None):
    parser = argparse.ArgumentParser(prog=f"spillway lab {name}", description=description)
    parser.add_argument("--json", metavar="FILE", type=os.path.abspath, help="write figures and checks")
    parser.add_argument("--chart", metavar="FILE", type=os.path.abspath,
                        help="draw what there is over time: FILE.svg and FILE.png")
    parser.add_argument("--quick", action="store_true", help="short; times and rates are then no checks")
    parser.add_argument("--only", metavar="PART", action="append", choices=parts,
                        help=f"this part alone; may be repeated: {' '.join(parts)}")
    parser.add_argument("--seed", metavar="N", type=int, default=1, help="of everything random (1)")
    parser.add_argument("--backend", choices=("iptables", "nft"), default="iptables",
                        help="what the rules that queue are made by (iptables); nft needs a kernel with nft_queue")
    if more:
        more(parser)
    return parser.parse_args()


def main(name, description, parts, more=None, summary=None, bench_class=Bench):
    """Runs the parts (name -> function of the Bench) inside the sandbox. `more` adds options to the parser, `summary`
    prints a table of the experiment's own."""
    given = options(name, description, parts, more)
    sandbox.main(lambda directory: _run(name, parts, given, directory, summary, bench_class))


def _run(name, parts, given, directory, summary, bench_class):
    begun = time.monotonic()
    os.chmod(directory, 0o755)  # an inspector is somebody else
    binary = interceptor.find_spillway()
    report = figures.Report(name, interceptor.version(binary), given.quick)
    report.head["seed"] = given.seed
    bench = bench_class(*hosts.pair(), binary, report, directory, given)
    for part in given.only or parts:
        print(f"[{time.monotonic() - begun:4.0f} s] {part}", flush=True)
        try:
            parts[part](bench)
        except (sandbox.LabError, OSError, subprocess.TimeoutExpired) as error:
            report.check(part + "_ran", False, str(error))
    if given.json:
        report.write(given.json)
    drawn = chart.draw(given.chart, bench.panels) if given.chart and bench.panels else []
    if summary:
        summary(report)
    _show(report, time.monotonic() - begun)
    for path in ([given.json] if given.json else []) + drawn:
        print(f"written: {path}")
    return 0 if report.holds() else 1


def _show(report, seconds):
    if report.figures:
        print("\n" + report.table())
    failed = [check for check in report.checks if not check["holds"]]
    print(f"\n{len(report.checks) - len(failed)} checks hold, {len(failed)} fail; {seconds:.0f} s, kernel "
          f"{report.head['kernel']}, {report.head['cpus']} CPUs" + (", quick" if report.head["quick"] else ""))
    for check in failed:
        print(f"  FAILS  {check['name']}: {check['detail']}")
