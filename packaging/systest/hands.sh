#!/bin/bash
# hands.sh - actuators and inputs on a kernel's own GPIO lines (gpio-sim) and LED. Runs in the VM, as root:
#   run-in-vm.sh -t board -i mosquitto,mosquitto-clients,socat -d FILE.deb hands.sh      with the package, or
#   run-in-vm.sh -t board -i mosquitto,mosquitto-clients,socat -f bin/meshgate hands.sh  with the program alone
# What the daemon drives is read back from the kernel, not from the daemon.
# shellcheck disable=SC2317,SC2086
set -u
conf=/etc/meshgate/gateway.yaml log=/tmp/cloud.log led=/sys/class/leds/hands:red:lamp
fail() { echo "FAIL $*"; meshgate status; journalctl -u meshgate --no-pager -n 40; tail -n 20 $log; exit 1; }
ok() { printf 'ok   %4ds %s\n' "$SECONDS" "$*"; }
soon() { # SECONDS WHAT COMMAND ...
	local end=$((SECONDS + $1)) w=$2; shift 2
	until "$@" >/tmp/out 2>&1; do [ $SECONDS -lt $end ] || fail "$w: '$*' says: $(head -c 800 /tmp/out)"; sleep 0.1; done
}
is() { [ "$2" = "$3" ] || fail "$1: got '$2', want '$3'"; }
cloud() { mosquitto_pub -h 127.0.0.1 -q 1 -t "meshgate/hands/$1" -m "$2" "${@:3}"; }
seen() { grep -qE "^meshgate/hands/$1" $log; }
line() { gpio-sim.sh value hands "$1"; }
line_is() { [ "$(line "$1")" = "$2" ]; }
led_is() { [ "$(cat $led/brightness)" = "$1" ]; }
main_pid() { systemctl show -P MainPID meshgate; }
answers() { meshgate motes >/dev/null; }
fresh() { local p; p=$(main_pid); [ "$p" != 0 ] && [ "$p" != "$1" ] && answers; }
online() { meshgate status | grep -qE '^bridge +cloud +up'; }
link_is() { meshgate status | grep -qE "^$1 +$2 +$3"; }
relay=2 door=3 heater=4 meter=5 plain=6 bell=7
chip() { gpio-sim.sh create hands 8 2=RELAY 3=DOOR 4=HEATER 5=METER >/dev/null; }

# Without a package: the program under a unit that does what the packaged one does for the pins.
if [ ! -e /usr/bin/meshgate ]; then
	install -m 755 /job/files/meshgate /usr/bin/meshgate
	cat >/etc/systemd/system/meshgate.service <<-X
	[Service]
	ExecStart=/usr/bin/meshgate run
	ExecStopPost=-/usr/bin/meshgate safe
	Restart=always
	RestartSec=2
	StateDirectory=meshgate
	RuntimeDirectory=meshgate
	X
	systemctl daemon-reload
fi
systemctl stop meshgate 2>/dev/null
mkdir -p /etc/meshgate
systemctl start mosquitto

case $(meshgate gpio) in
*'No GPIO chip'*) ok 'a machine without GPIO says so' ;;
*) [ "$(uname -m)" != x86_64 ] || fail 'a machine without GPIO does not say so' ;;
esac
chip
uled hands:red:lamp 255 /tmp/led.log & uled=$!
soon 20 'the LED is there' test -e $led/brightness
if [ "$(stat -c %G $led/brightness)" != gpio ] && id meshgate >/dev/null 2>&1; then udevadm trigger --subsystem-match=leds; udevadm settle; fi
echo 77 >$led/brightness
cat >$conf <<'X'
id: hands
managers:
  - {name: main, port: "sim:?motes=1&period=1h"}
actuators:
  relay: {pin: RELAY, rate: 60000}
  heater: {pin: HEATER, lease: 4s}
  plain: {pin: "chip:hands/6"}
  bell: {pin: "chip:hands/7"}
  lamp: {pin: "led:hands:red:lamp"}
  late: {pin: "chip:late/1"}
  all: {group: [relay, plain]}
inputs:
  door: {pin: DOOR, debounce: 20ms}
  meter: {pin: METER, count: 1s, rate: 1000}
automations:
  - {name: entry, when: {input: door, is: on}, set: bell, to: on, else: off}
bridges:
  - {name: cloud, url: "mqtt://127.0.0.1:1883"}
X
chmod 644 $conf
meshgate check || fail 'the configuration'
mosquitto_sub -h 127.0.0.1 -q 1 -F '%t %p' -t 'meshgate/#' >$log & sub=$!
systemctl start meshgate
soon 30 'online' online
soon 5 'safe at the start' led_is 0
is 'relay at the start' "$(line $relay)" 0
meshgate gpio >/tmp/gpio.txt
for says in '^hands +2 +RELAY +out .*actuator relay$' '^hands +3 +DOOR +in .*input door$' '^led:hands:red:lamp .*actuator lamp$' \
	'^actuator late: pin chip:late/1 is configured, but not here'; do
	grep -qE "$says" /tmp/gpio.txt || fail "meshgate gpio does not say $says: $(cat /tmp/gpio.txt)"
done
soon 5 'a pin that is not there' link_is output late down
ok 'outputs safe at the start; meshgate gpio; a chip that is missing is told and holds up nothing'

cloud actuator/relay/set on; soon 5 'relay on' line_is $relay 1
soon 5 'state' seen 'actuator/relay/state .*"state":"on"'
cloud actuator/relay/set '{"state":"toggle","id":"t1"}'; soon 5 'relay off' line_is $relay 0
soon 5 'result' seen 'actuator/relay/result .*"id":"t1".*"stage":"applied"'
cloud actuator/relay/set '{"state":"on","for":"1s"}'; soon 5 'on for 1s' line_is $relay 1; soon 5 'off by itself' line_is $relay 0
cloud actuator/all/set on; soon 5 'group' line_is $relay 1; soon 5 'group' line_is $plain 1
soon 5 'group state' seen 'actuator/all/state .*"state":"on"'
cloud actuator/all/set off; soon 5 'group' line_is $relay 0; soon 5 'group' line_is $plain 0
cloud actuator/lamp/set '{"brightness":40}'; soon 5 'brightness' led_is 102
soon 5 'brightness' seen 'actuator/lamp/state .*"brightness":40'
cloud actuator/relay/set '{"state":"on","blink":["1s","1s"],"for":"6s"}'
for v in 1 0 1; do soon 5 "blinks $v" line_is $relay $v; done; sleep 6; is 'after blinking' "$(line $relay)" 0
cloud actuator/heater/set on; soon 5 'heater' line_is $heater 1; soon 8 'its lease runs out' line_is $heater 0
[ "$(meshgate set relay on --wait | grep -cE 'relay: (accepted|applied)')" -ge 2 ] || fail 'set --wait'
meshgate set relay off >/dev/null || fail 'set'
ok 'on, off, toggle, for, a group, brightness, a pattern, a lease, on lines with a name and without'

cloud actuator/relay/set '{"state":"on","id":"old"}' -r; soon 5 'retained' seen 'actuator/relay/result .*"id":"old".*"refused"|actuator/relay/state .*"on"'
mosquitto_pub -h 127.0.0.1 -r -n -t meshgate/hands/actuator/relay/set
cloud actuator/relay/set off; soon 5 'off' line_is $relay 0
cloud actuator/relay/set '{"state":"on","id":"late","until":"2020-01-01T00:00:00Z"}'; soon 5 'late' seen 'actuator/relay/result .*"id":"late".*"expired"'
cloud actuator/relay/set '{"state":'; soon 5 'malformed' seen 'actuator/relay/result .*not a command'
cloud actuator/nobody/set on; soon 5 'unknown' seen 'actuator/nobody/result .*"refused"'
cloud actuator/relay/set '{"state":"on","id":"once"}'; soon 5 'once' line_is $relay 1
cloud actuator/relay/set off; soon 5 'off' line_is $relay 0
cloud actuator/relay/set '{"state":"on","id":"once"}'; soon 5 'a repeat' seen 'actuator/relay/result .*"id":"once".*"repeated":true'
is 'a repeat switches' "$(line $relay)" 0
before=$(main_pid); systemctl restart meshgate; soon 30 'restarted' fresh "$before"; soon 30 'online' online
n=$(grep -c '"repeated":true' $log)
cloud actuator/relay/set '{"state":"on","id":"once"}'
more() { [ "$(grep -c '"repeated":true' $log)" -gt "$n" ]; }
soon 5 'a repeat after a restart' more
is 'a repeat after a restart switches' "$(line $relay)" 0
ok 'retained while away, late, malformed, unknown, repeated: answered, nothing switched'

pid=$(main_pid)
for i in $(seq 5000); do echo on; echo off; done | mosquitto_pub -h 127.0.0.1 -q 0 -t meshgate/hands/actuator/relay/set -l
cloud actuator/relay/set '{"state":"off","id":"flood"}'
soon 240 'after a flood' seen 'actuator/relay/result .*"id":"flood"'
meshgate set relay on >/dev/null || fail 'after a flood'; is 'after a flood' "$(line $relay)" 1
is 'the process' "$(main_pid)" "$pid"
meshgate set relay off >/dev/null
drained() { meshgate status | grep -q '; 0 wait for cloud'; }
soon 240 'their results are out' drained
ok "a flood of 10000 commands: $(awk '/VmHWM/{print $2" "$3}' /proc/"$pid"/status) at most"

gpio-sim.sh pull hands $door up; soon 5 'edge' seen 'input/door/edge .*"state":"on"'; soon 5 'the rule' line_is $bell 1
soon 5 'state' seen 'input/door/state .*"state":"on"'
gpio-sim.sh pull hands $door down; soon 5 'edge' seen 'input/door/edge .*"state":"off"'; soon 5 'the rule' line_is $bell 0
systemctl stop mosquitto; sleep 1
for _ in 1 2 3; do gpio-sim.sh pull hands $door up; sleep 0.2; gpio-sim.sh pull hands $door down; sleep 0.2; done
gpio-sim.sh pull hands $door up; soon 5 'the rule without a broker' line_is $bell 1
kill -9 "$(main_pid)"; soon 20 'up again' test -S /run/meshgate/meshgate.sock
systemctl start mosquitto; mosquitto_sub -h 127.0.0.1 -q 1 -F '%t %p' -t 'meshgate/#' >>$log & sub2=$!
edges() { [ "$(grep -c 'input/door/edge' $log)" -ge 9 ]; }
soon 60 'edges of the outage, over kill -9' edges
gpio-sim.sh pull hands $door down; soon 5 'the rule' line_is $bell 0
gpio-sim.sh pulse hands $meter 50 20; soon 10 'count' seen 'input/meter/count .*"count":(4[5-9]|50)\b'
ok "edges, also of an outage and over a kill; a rule without the cloud; $(grep -o '"count":[0-9]*' $log | tail -1) of 50 pulses"

soon 30 'online' online
for i in 1 2 3 4 5 6; do
	pid=$(main_pid)
	cloud actuator/relay/set "{\"state\":\"on\",\"id\":\"k$i\"}"
	cloud actuator/lamp/set on
	[ $i -gt 3 ] || soon 5 'lamp on' led_is 255
	[ $i != 3 ] || echo 'nonsense' >$conf.broken
	[ $i != 3 ] || { mv $conf $conf.good; mv $conf.broken $conf; }
	kill -9 "$pid"; start=$(date +%s%N)
	until led_is 0 && line_is $relay 0; do [ $(($(date +%s%N) - start)) -lt 8000000000 ] || fail "not safe 8 s after kill -9"; done
	took=$((($(date +%s%N) - start) / 1000000)); [ "$took" -lt "${worst:-0}" ] || worst=$took
	[ $i != 3 ] || mv $conf.good $conf
	soon 40 'up again' fresh "$pid"; soon 30 'online' online
	if seen "actuator/relay/result .*\"id\":\"k$i\""; then
		n=$(grep -c '"repeated":true' $log); cloud actuator/relay/set "{\"state\":\"on\",\"id\":\"k$i\"}"
		soon 10 'the repeat is known' more; is 'the repeat switches' "$(line $relay)" 0
	fi
done
ok "kill -9: safe after ${worst} ms at most (emulated), with a spoilt configuration too; answered ids are known afterwards"

cloud actuator/relay/set on; soon 5 'relay' line_is $relay 1
gpio-sim.sh destroy hands || fail 'destroy'
soon 90 'the chip has gone' link_is output relay down
soon 90 'the input has gone' link_is input door down
chip; soon 30 'the chip is back' link_is output relay up
is 'safe when it is back' "$(line $relay)" 0
cloud actuator/relay/set on; soon 5 'relay' line_is $relay 1
soon 30 'the input is back' link_is input door up
gpio-sim.sh pull hands $door up; soon 5 'the rule' line_is $bell 1
gpio-sim.sh create late 4 >/dev/null; soon 30 'the late chip' link_is output late up
meshgate set late on >/dev/null || fail 'the late chip'
is 'the late chip' "$(gpio-sim.sh value late 1)" 1
meshgate safe >/tmp/out 2>&1 && fail 'safe while the daemon runs'
grep -q 'taken: .* by consumer' /tmp/out || fail "safe while the daemon runs: $(cat /tmp/out)"
ok 'chips vanish and appear while it runs; a line that is taken names its consumer'

cloud actuator/lamp/set on; soon 5 'lamp' led_is 255
a=$(awk '{print $14+$15}' "/proc/$(main_pid)/stat"); sleep 20; b=$(awk '{print $14+$15}' "/proc/$(main_pid)/stat")
systemctl stop meshgate
is 'relay at the end' "$(line $relay)" 0; is 'lamp at the end' "$(cat $led/brightness)" 0
ok "a clean end: all safe; idle, $((b - a)) ticks of 10 ms in 20 s (emulated)"
kill $uled $sub $sub2 2>/dev/null
exit 0
