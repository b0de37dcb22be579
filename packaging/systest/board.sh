#!/bin/bash
# board.sh ARCH PKG,... FILE.deb [CUTS] - the package on a board, as far as a VM can be one: board-guest.sh in it, with a
# simulated GPIO chip, an LED and two USB adapters joined by a cable, the daemon on one and a simulated manager on the
# other; then a reboot from the same disk; then CUTS (2) power cuts while readings flow, each followed by a boot.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); . "$here/lib.sh"
[ $# -ge 3 ] || die "usage: board.sh ARCH PKG,... FILE.deb [CUTS]"
arch=$1 peers=$2 deb=$3 cuts=${4:-2}
tmp=$(mktemp -d) vm=''
trap '[ -z "$vm" ] || kill "$vm" 2>/dev/null || :; rm -rf "$tmp"' EXIT
run() { "$here/run-in-vm.sh" -a "$arch" -t board -i "$peers" -u pair -T 600 -D "$tmp/disk.qcow2" "$@"; }

run -o "$tmp/first" -d "$deb" "$here/board-guest.sh" first || { tail -n 60 "$tmp/first/journal.txt" 2>/dev/null || :; exit 1; }
run -o "$tmp/again" "$here/board-guest.sh" again || { tail -n 60 "$tmp/again/journal.txt" 2>/dev/null || :; exit 1; }
for n in $(seq 1 "$cuts"); do
	rm -f "$tmp/pid"
	run -C writeback -P "$tmp/pid" -S "$tmp/out" "$here/board-guest.sh" cut >"$tmp/log" 2>&1 & vm=$!
	while [ ! -e "$tmp/out/ready" ]; do
		kill -0 "$vm" 2>/dev/null || { cat "$tmp/log"; die "power cut $n: the VM did not get as far as that"; }
		sleep 0.2
	done
	sleep "0.$((RANDOM % 10))"
	kill -9 "$(cat "$tmp/pid")"; wait "$vm" 2>/dev/null || :; vm=''
	grep -a '^ok' "$tmp/log" || :
	note "plug pulled $n"
done
[ "$cuts" = 0 ] || run -o "$tmp/last" "$here/board-guest.sh" again || { tail -n 60 "$tmp/last/journal.txt" 2>/dev/null || :; exit 1; }
