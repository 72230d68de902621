# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# For the library's tests: a network namespace of their own, $dir for their files, iptables kept off the machine's lock.
# Source it with the script's arguments.
set -eu

if [ "${1:-}" != inside ]; then
	if [ "$(id -u)" = 0 ]; then
		exec unshare -n "$0" inside
	fi
	if ! unshare -Ur unshare -n true; then
		echo "SKIP: user namespaces"
		exit 77
	fi
	# In two steps: the files below /proc/net belong to whoever was mapped when the network namespace was made.
	USER_NAMESPACE=$(id -u):$(id -g) exec unshare -Ur unshare -n "$0" inside
fi
dir=$(mktemp -d)
hosts=()
finish() {
	for pid in "${hosts[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	rm -rf "$dir"
}
trap finish EXIT
export XTABLES_LOCKFILE=$dir/lock
ip link set lo up

# Runs a command that makes rules; where it can't, the test is skipped.
need_rules() {
	if ! "$@"; then
		echo "SKIP: iptables NFQUEUE"
		exit 77
	fi
}
