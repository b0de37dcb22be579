#!/bin/bash
# service.sh - meshgate as a service of a machine without the package, in the container or the VM:
#   run-in-nspawn.sh -t mqtt -i mosquitto,mosquitto-clients -f bin/meshgate service.sh
# The program alone is put in its place; `setup --start` does the rest, and `service` steers and removes it.
set -u
unit=/etc/systemd/system/meshgate.service
fail() { echo "FAIL $*"; systemctl status meshgate --no-pager -l -n 20 2>&1 | tail -30; exit 1; }
ok() { printf 'ok   %4ds %s\n' "$SECONDS" "$*"; }
# says CODE WORDS COMMAND ... : it ends with that code, and those words are in what it says
says() {
	local code=$1 words=$2 rc=0; shift 2
	"$@" >/tmp/out 2>&1 || rc=$?
	[ $rc = "$code" ] && { [ -z "$words" ] || grep -qF -- "$words" /tmp/out; } || fail "'$*' ends with $rc, want $code with '$words': $(head -c 900 /tmp/out)"
}
soon() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; fail "'$*' has not come true in 10 s"; }
install -m 755 /job/files/meshgate /usr/local/bin/
says 3 'not installed' meshgate service status
says 0 'The service runs' meshgate setup --yes --id sys --port 'sim:?motes=3&period=1s' --broker mqtt://127.0.0.1 --led sim --http 127.0.0.1:8080 --start
says 0 'manager' mosquitto_sub -h 127.0.0.1 -C 1 -W 20 -t 'meshgate/sys/mote/+/temperature'
soon meshgate status
get() { exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1:8080\r\n\r\n' "$1" >&3 && cat <&3; }
says 0 '<html' get /
says 0 '"temperature"' get /api/v1/motes
says 0 'running' meshgate service status
says 0 enabled systemctl is-enabled meshgate
says 0 meshgate ps -o user= -p "$(systemctl show -P MainPID meshgate)"
says 0 'root:meshgate 640' stat -c '%U:%G %a' /etc/meshgate/gateway.yaml
says 0 'meshgate:meshgate 750' stat -c '%U:%G %a' /var/lib/meshgate
says 0 '' systemd-analyze verify --man=no $unit
level=$(systemd-analyze security --no-pager meshgate.service | sed -n 's/.*level for meshgate.service: \([0-9.]*\).*/\1/p')
awk "BEGIN {exit !($level <= 2.0)}" || fail "exposure $level"
ok "setup has made a service, readings are at the broker; exposure $level"

says 1 'already exists' meshgate service install
says 0 '' meshgate service restart
says 0 'running' meshgate service status
says 0 '' systemctl reload meshgate
says 0 'says that already' meshgate setup --yes --start
says 0 '' meshgate service stop
says 3 'stopped' meshgate service status
says 0 '' meshgate service start
says 0 'manager' mosquitto_sub -h 127.0.0.1 -C 1 -W 20 -t 'meshgate/sys/mote/+/temperature'
echo 'nonsense: 1' >>/etc/meshgate/gateway.yaml
says 1 'systemctl status meshgate' meshgate service restart
sed -i '/nonsense/d' /etc/meshgate/gateway.yaml
ok 'it is steered; a mistake in the configuration is told'

soon systemctl is-active meshgate
says 0 '' meshgate service uninstall
says 3 'not installed' meshgate service status
pgrep -x meshgate && fail 'a process is left'
[ ! -e $unit ] || fail "$unit is left"
[ -e /etc/meshgate/gateway.yaml ] && [ -e /var/lib/meshgate/spool ] || fail 'configuration or state are gone'
says 0 'installed' meshgate service install
says 0 '' meshgate service start
says 0 'running' meshgate service status
ok 'taken away, with its configuration and its spool kept, and installed again'
