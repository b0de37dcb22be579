# shellcheck shell=bash
# check.sh - what the tests in the VM have in common; sourced. A test defines `why`, which tells what is known when something
# has failed, and GATEWAY, the id in its configuration.
# Nothing waits for a time: `soon` waits for what is to happen, with one bound for all that is no figure.
PATIENCE=300 log=/tmp/cloud.log trace=/sys/kernel/tracing from=1
fail() { echo "FAIL $*"; why; exit 1; }
ok() { printf 'ok   %4ds %s\n' "$SECONDS" "$*"; }
soon() { # WHAT COMMAND ...
	local w=$1 end=$((SECONDS + PATIENCE)); shift
	until "$@" >/tmp/out 2>&1; do [ $SECONDS -lt $end ] || fail "$w: '$*' says: $(head -c 800 /tmp/out)"; sleep 0.1; done
}
want() { local w=$1; shift; "$@" >/tmp/out 2>&1 || fail "$w: '$*' says: $(head -c 800 /tmp/out)"; }
is() { [ "$2" = "$3" ] || fail "$1: got '$2', want '$3'"; }
main_pid() { systemctl show -P MainPID meshgate; }
fresh() { local p; p=$(main_pid); [ "$p" != 0 ] && [ "$p" != "$1" ] && meshgate motes; }
ended() { [ "$(systemctl show -P SubState meshgate)" = auto-restart ]; }
link_is() { meshgate status | grep -qE "^$1 +$2 +$3"; }

# The cloud. What reaches it goes to $log; the broker keeps all of it for the listener when either has been away.
cloud() { mosquitto_pub -h 127.0.0.1 -q 1 -t "meshgate/$GATEWAY/$1" -m "$2" "${@:3}"; }
heard() { cloud listener/hello '' && seen listener/hello; }
listen() {
	systemctl stop mosquitto
	rm -f /var/lib/mosquitto/mosquitto.db # a power cut may have torn it
	echo 'max_queued_messages 0' >/etc/mosquitto/conf.d/systest.conf # no limit
	systemctl reset-failed mosquitto; systemctl start mosquitto
	: >$log
	mosquitto_sub -h 127.0.0.1 -q 1 -c -i listener -F '%t %p' -t 'meshgate/#' >>$log &
	soon 'the listener hears' heard
}
seen() { tail -n "+$from" $log | grep -qE "^meshgate/$GATEWAY/$1"; }
count() { tail -n "+$from" $log | grep -cE "^meshgate/$GATEWAY/$1"; }

# The kernel's own record of what lines are driven to, and `uled NAME MAX $trace/trace_marker` of an LED, with times.
witness() {
	mountpoint -q $trace || mount -t tracefs tracefs $trace
	echo mono >$trace/trace_clock
	echo 1 >$trace/events/gpio/gpio_value/enable
}
mark() { from=$(($(wc -l <$log) + 1)); : >$trace/trace; } # from here on counts what is seen and driven
driven_on() { grep -cE 'gpio_value: .* set 1$|tracing_mark_write: [1-9]' $trace/trace; }
driven_on_at() { sed -nE 's/.* ([0-9.]+): (gpio_value: .* set 1|tracing_mark_write: [1-9][0-9]*)$/\1/p' $trace/trace | tail -n 1; }
# ms_between A B : from the mark A to the next mark B, in milliseconds
ms_between() { awk -v a=": $1\$" -v b=": $2\$" '/tracing_mark_write/ {t = $0; sub(/: tracing_mark_write.*/, "", t); sub(/.* /, "", t)}
	$0 ~ a {start = t; next} start && $0 ~ b {printf "%d\n", (t - start) * 1000; exit}' $trace/trace; }
