#!/bin/bash
# life.sh - the life of the package, in the container or the VM, after OLD.deb was installed from /job/debs:
#   run-in-nspawn.sh -t mqtt -i mosquitto,mosquitto-clients -d OLD.deb -f NEW.deb life.sh [RESTARTS]
# It is installed without a manager in reach, gets a configuration with mistakes and then a right one (a simulated
# manager on TCP with twenty notifications a second, a simulated LED, mosquitto as the cloud), is watched, restarted
# RESTARTS times (50), killed, upgraded and downgraded with readings flowing, removed, installed again and purged. Each
# step says what held; the first that does not ends it.
set -u
restarts=${1:-50}
new=(/job/files/meshgate_*.deb) old=(/job/debs/meshgate_*.deb)
conf=/etc/meshgate/gateway.yaml log=/tmp/cloud.log
fail() { echo "FAIL $*"; systemctl status meshgate --no-pager -l -n 20 2>&1 | tail -30; exit 1; }
ok() { printf 'ok   %4ds %s\n' "$SECONDS" "$*"; }
# want WHAT COMMAND ... : the command succeeds, now
want() { local w=$1; shift; "$@" >/tmp/out 2>&1 || fail "$w: '$*' says: $(head -c 600 /tmp/out)"; }
# soon SECONDS WHAT COMMAND ... : it succeeds within that time
soon() {
	local n=$(($1 * 10)) w=$2; shift 2
	until "$@" >/tmp/out 2>&1; do n=$((n - 1)); [ $n -gt 0 ] || fail "$w: '$*' says: $(head -c 600 /tmp/out)"; sleep 0.1; done
}
is() { [ "$2" = "$3" ] || fail "$1: got '$2', want '$3'"; }
quietly() { DEBIAN_FRONTEND=noninteractive "$@" >/tmp/dpkg.log 2>&1 || fail "$*: $(tail -5 /tmp/dpkg.log)"; }
exit_of() { "$@" >/dev/null 2>&1; echo $?; }
show() { systemctl show -P "$1" meshgate; }
cloud() { mosquitto_pub -h 127.0.0.1 -q 1 -t "meshgate/sys/$1" -m "$2"; }
# seen PATTERN : what reached the cloud has such a line
seen() { grep -qE "$1" $log; }
numbers() { grep -o '"seq":[0-9]*' $log | cut -d: -f2; }
readings() { grep -c /temperature $log; }
more_than() { [ "$(readings)" -gt "$1" ]; }
flowing() { soon "${2:-15}" "readings flow $1" more_than $(($(readings) + 10)); }
# manager : asks the manager for its counters
manager() { soon 10 'the manager answers' meshgate call getManagerStatistics; cp /tmp/out /tmp/manager; }
counter() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "/tmp/manager${2:-}"; }
# each_heard FROM : of every mote something has come after the FROM-th line
each_heard() { [ "$(heard_after "$1")" = "$(heard_after 0)" ]; }
heard_after() { tail -n "+$(($1 + 1))" $log | grep -o '^[^ ]*/temperature ' | sort -u | wc -l; }
# begun : from here on the manager is to see one session alone, and every number that a mote sends is to reach the cloud
begun() { manager; cp /tmp/manager /tmp/manager.before; from=$(wc -l <$log) at=$SECONDS; }
# missing FROM : what motes have sent, a running number in hundredths of a degree, and what never came after the FROM-th line
missing() {
	awk -v from="$1" '/\/temperature / && match($0, /"value":[0-9.]+/) {
		v = int(substr($0, RSTART + 8, RLENGTH - 8) * 100 + 0.5); split($1, t, "/"); m = t[4]
		seen[m, v] = 1; if (v > last[m]) last[m] = v; if (NR <= from && v > first[m]) first[m] = v
	} END {for (m in last) for (v = first[m] + 1; v < last[m]; v++) if (!((m, v) in seen)) print m, v}' $log
}
none_missing() { [ -z "$(missing "$from")" ] || { missing "$from" | head -5; return 1; }; }
# unbroken WHEN : that was so since begun
unbroken() {
	local c
	soon 10 "$1: no reading is missing" none_missing
	manager
	for c in apiEstabConn apiDroppedConn apiTxFail apiTxErr apiRxProtErr; do
		is "$1: the manager's $c" "$(counter $c)" "$(counter $c .before)"
	done
	ok "$1: the session has not ended, all $(($(counter apiTxOk) - $(counter apiTxOk .before))) notifications of $((SECONDS - at)) s are acknowledged and at the broker"
}
# contiguous WHEN : every record up to the last one has reached the cloud
contiguous() {
	local gaps
	gaps=$(numbers | sort -nu | awk 'BEGIN {e = 1} $1 != e {print e "-" $1 - 1; n++} {e = $1 + 1} END {exit n > 0}') ||
		fail "$1: records are missing at the broker: $(echo "$gaps" | tr '\n' ' ')"
	cp $log /job/out/
	ok "$1: records 1 to $(numbers | sort -n | tail -1) are all at the broker, $(numbers | sort -n | uniq -d | wc -l) of them twice"
}

# --- installed, without a manager ---
want 'the service is active after the installation' systemctl is-active -q meshgate
want 'the service is enabled' systemctl is-enabled -q meshgate
is 'owner and mode of the configuration' "$(stat -c '%U:%G %a' $conf)" 'root:meshgate 640'
is 'owner and mode of the state' "$(stat -c '%U:%G %a' /var/lib/meshgate)" 'meshgate:meshgate 750'
is 'owner and mode of the runtime folder' "$(stat -c '%U:%G %a' /run/meshgate)" 'meshgate:meshgate 750'
is 'owner and mode of the socket' "$(stat -c '%U:%G %a' /run/meshgate/meshgate.sock)" 'meshgate:meshgate 660'
is 'the user of the daemon' "$(ps -o user= -p "$(show MainPID)")" meshgate
for g in dialout gpio; do want "meshgate is in group $g" sh -c "id -nG meshgate | grep -qw $g"; done
want 'the default configuration is valid' meshgate check
is 'status without a manager' "$(exit_of meshgate status)" 3
want 'the unit has no mistakes' systemd-analyze verify --man=no meshgate.service
level=$(systemd-analyze security --no-pager meshgate.service | sed -n 's/.*level for meshgate.service: \([0-9.]*\).*/\1/p')
want "exposure $level is at most 2.0" awk "BEGIN {exit !($level <= 2.0)}"
want 'the completion parses' bash -n /usr/share/bash-completion/completions/meshgate
want "a user is made" useradd -M -G meshgate visitor
is 'status as a member of group meshgate' "$(exit_of runuser -u visitor -- meshgate status)" 3
is 'status as a stranger' "$(exit_of runuser -u nobody -- meshgate status)" 1
rss=$(awk '/VmRSS/ {print $2}' "/proc/$(show MainPID)/status")
want "$rss kB of memory when idle" test "$rss" -le 25600
ok "installed: active without a manager, exposure $level, $rss kB of memory"

# --- a configuration with a mistake: said, tried again, mended without help ---
cp -p $conf /tmp/default.yaml
printf 'managers:\n  - {name: main, prot: /dev/ttyUSB3}\n' >$conf
want 'a restart with mistakes ends' timeout 30 sh -c '! systemctl restart meshgate'
soon 5 'the journal has the mistake with its place' sh -c 'journalctl -b -u meshgate | grep -q "gateway.yaml:2:.*prot"'
cat >$conf <<'X'
# edited by hand
id: sys
managers:
  - {name: main, port: "tcp://127.0.0.1:9911"}
actuators:
  led: {pin: sim}
bridges:
  - {name: cloud, url: "mqtt://127.0.0.1:1883"}
X
sum=$(md5sum $conf)
cp /usr/bin/meshgate /tmp/simulator
want 'the simulator starts' systemd-run -q --unit=manager /tmp/simulator simulate --listen 127.0.0.1:9911 \
	--motes 20 --period 1s --faults numbered=true
mosquitto_sub -h 127.0.0.1 -q 1 -F '%t %p' -t 'meshgate/#' >$log & sub=$!
soon 15 'it comes up by itself when the mistake is gone' systemctl is-active -q meshgate
is 'the mode of the configuration' "$(stat -c '%U:%G %a' $conf)" 'root:meshgate 640'
soon 20 'status is well' meshgate status
flowing 'at first'
ok "configured: a mistake was told with its place and cost nothing but time; readings flow"

# --- commands, reload ---
cloud actuator/led/set on
soon 10 'the LED is on' seen 'actuator/led/state .*"state":"on"'
want 'status as JSON' sh -c 'meshgate status --json | grep -q "\"ok\": *true"'
pid=$(show MainPID)
want 'reload' systemctl reload meshgate
sleep 1
is 'the process after a reload' "$(show MainPID)" "$pid"
flowing 'after a reload'
echo 'nonsense: 1' >>$conf
systemctl reload meshgate
sleep 1
is 'the process after a reload with mistakes' "$(show MainPID)" "$pid"
flowing 'after a reload with mistakes'
sed -i '/nonsense/d' $conf
ok 'a command reaches the LED; a reload keeps the process, one with mistakes too'

# --- a secret that root alone can read ---
printf 'secret\n' >/root/cloud.password; chmod 600 /root/cloud.password
mkdir -p /etc/systemd/system/meshgate.service.d
printf '[Service]\nLoadCredential=cloud.password:/root/cloud.password\n' >/etc/systemd/system/meshgate.service.d/secret.conf
cp -p $conf /tmp/edited.yaml
sed -i 's#1883"}#1883", username: sys, password_file: /run/credentials/meshgate.service/cloud.password}#' $conf
systemctl daemon-reload; want 'restart with a secret from systemd' systemctl restart meshgate
flowing 'with a secret from systemd'
rm -r /etc/systemd/system/meshgate.service.d; systemctl daemon-reload; cp -p /tmp/edited.yaml $conf
echo other | want 'a secret as the guide makes it' install -m 640 -g meshgate /dev/stdin /etc/meshgate/cloud.password
is 'that secret' "$(stat -c '%U:%G %a' /etc/meshgate/cloud.password) $(cat /etc/meshgate/cloud.password)" 'root:meshgate 640 other'
ok 'LoadCredential reaches check and daemon'

# --- restarted again and again ---
begun
for i in $(seq "$restarts"); do
	readings=$(readings)
	want "restart $i" systemctl restart meshgate
	soon 10 "readings flow after restart $i" more_than $((readings + 10))
done
want 'the cloud was told of the stops' seen 'gateway/status .*"offline","reason":"stopped"'
unbroken "restarted $restarts times"

# --- kill, hang ---
pid=$(show MainPID); kill -9 "$pid"
soon 10 'a new process after kill -9' sh -c "p=\$(systemctl show -P MainPID meshgate); [ \$p != 0 ] && [ \$p != $pid ]"
soon 10 'the cloud was told of the loss' seen 'gateway/status .*"offline","reason":"lost"'
flowing 'after kill -9'
mkdir -p /run/systemd/system/meshgate.service.d
printf '[Service]\nWatchdogSec=4\n' >/run/systemd/system/meshgate.service.d/test.conf
systemctl daemon-reload; want 'restart with a short watchdog' systemctl restart meshgate
flowing 'before the hang'; sleep 5
is 'restarts by a watchdog that has no reason' "$(show NRestarts)" 0
pid=$(show MainPID); kill -STOP "$pid"
soon 25 'the watchdog ends a process that hangs' sh -c "p=\$(systemctl show -P MainPID meshgate); [ \$p != 0 ] && [ \$p != $pid ]"
flowing 'after the hang'
mended=$(wc -l <$log)
rm -r /run/systemd/system/meshgate.service.d; systemctl daemon-reload; systemctl restart meshgate
contiguous 'restarts, kill -9 and hang'

# --- upgrade and downgrade under load ---
version() { meshgate status --json | sed -n 's/.*"version": *"\([^"]*\)".*/\1/p' | head -1; }
soon 15 'every mote is heard again after the hang, which has cost readings' each_heard "$mended"
begun
quietly dpkg -i "${new[0]}"
is 'the version that runs' "meshgate $(version)" "$(meshgate version | cut -d' ' -f1,2)"
is 'the version that is installed' "$(dpkg-query -Wf '${Version}' meshgate)" "$(dpkg-deb -f "${new[0]}" Version)"
is 'the configuration after an upgrade' "$(md5sum $conf)" "$sum"
flowing 'after the upgrade'
quietly dpkg -i --force-downgrade "${old[0]}"
is 'the version after a downgrade' "$(dpkg-query -Wf '${Version}' meshgate)" "$(dpkg-deb -f "${old[0]}" Version)"
is 'the configuration after a downgrade' "$(md5sum $conf)" "$sum"
flowing 'after the downgrade'
unbroken 'upgrade and downgrade under load'
contiguous 'upgrade and downgrade under load'

# --- stopped by hand, disabled: an upgrade respects that ---
systemctl disable -q --now meshgate
quietly dpkg -i "${new[0]}"
is 'a service that was disabled' "$(systemctl is-active meshgate) $(systemctl is-enabled meshgate)" 'inactive disabled'
systemctl enable -q --now meshgate
flowing 'after it was enabled again'

# --- remove, install again, purge ---
quietly dpkg -r meshgate
want 'no process is left' sh -c '! pgrep -x meshgate'
want 'the configuration stays' test -e $conf
want 'the spool stays' test -e /var/lib/meshgate/spool
want 'the socket is gone' test ! -e /run/meshgate/meshgate.sock
quietly dpkg -i "${old[0]}"
is 'the configuration after a removal' "$(md5sum $conf)" "$sum"
flowing 'after it was installed again'
systemctl stop meshgate; sleep 1
contiguous 'removed and installed again'
quietly dpkg -P meshgate
for f in /etc/meshgate /var/lib/meshgate /run/meshgate /usr/lib/systemd/system/meshgate.service /etc/systemd/system/meshgate.service \
	/etc/systemd/system/multi-user.target.wants/meshgate.service; do
	want "$f is gone after a purge" test ! -e $f -a ! -L $f
done
want 'no file of the package is left' sh -c '! find / -xdev -name "*meshgate*" -not -path "/proc/*" -not -path "/job/*" -not -path "/tmp/*" \
	-not -path "/var/log/*" -not -path "/var/lib/systemd/deb-systemd*" -not -path "/var/cache/*" | grep .'
want 'no unit is left' sh -c '! systemctl list-units --all --no-legend "meshgate*" | grep .'
kill $sub
ok 'removed, installed again with its configuration and its spool, purged without a trace'
