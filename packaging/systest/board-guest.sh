#!/bin/bash
# board-guest.sh first|again|cut - what board.sh runs in the VM. first: everything that a board has; again: after a
# reboot or a power cut; cut: readings flow until the plug is pulled, with the relay on.
set -u
. /usr/local/lib/systest/check.sh || exit 1
GATEWAY=sys conf=/etc/meshgate/gateway.yaml
why() {
	meshgate status; systemctl status meshgate manager cable --no-pager -l -n 15 2>&1 | tail -60
	ls -l /dev/ttyUSB* /dev/smartmesh* /dev/gpiochip* 2>&1
}
readings() { grep -c /temperature $log; }
more_than() { [ "$(readings)" -gt "$1" ]; }
flowing() { soon "readings flow $1" more_than $(($(readings) + 5)); }
last() { grep -o '"seq":[0-9]*' $log | cut -d: -f2 | sort -n | tail -1; }
relay() { gpio-sim.sh value board 2; }
relay_is() { [ "$(relay)" = "$1" ]; }
led() { cat /sys/class/leds/board:green:act/brightness; }
led_is() { [ "$(led)" = "$1" ]; }
not_well() { meshgate status; [ $? = 3 ]; }
# usb_of TTY : the USB device of an adapter, such as 2-1
usb_of() { basename "$(dirname "$(readlink -f "/sys/class/tty/$1/device/..")")"; }
usb() { echo "$2" >"/sys/bus/usb/drivers/usb/$1"; }

# the parts of the board, new at each boot: a chip with a relay and a door contact, an LED, the manager on its cable, and
# the cloud, which has heard nothing yet
parts() {
	witness
	gpio-sim.sh create board 8 2=RELAY 3=DOOR >/dev/null
	uled board:green:act 255 $trace/trace_marker &
	soon 'the LED is there' test -e /sys/class/leds/board:green:act
	soon 'both adapters are there' test -e /dev/ttyUSB1
	udevadm settle
	systemd-run -q --collect --unit=manager /usr/bin/meshgate simulate --listen 127.0.0.1:9911 --period 1s
	cable
	listen
}

cable() {
	systemd-run -q --collect --unit=cable -p Restart=always -p RestartSec=1 -p StartLimitIntervalSec=0 \
		socat TCP:127.0.0.1:9911 /dev/ttyUSB1,raw,echo=0,b115200,clocal
}

# The adapter of QEMU is an FT232R: the packaged rule for the FT4232H, with those two numbers changed.
names() {
	sed -n 's/"6011"/"6001"/g; s/INTERFACE_NUM}=="03"/INTERFACE_NUM}=="00", KERNEL=="ttyUSB0"/g; p' \
		/usr/lib/udev/rules.d/70-meshgate.rules >/etc/udev/rules.d/71-board.rules
	udevadm control --reload; udevadm trigger --subsystem-match=tty; udevadm settle
}

# what the next boot has to know: the number of the last record, and that a command with an id made of it has been answered
remember() {
	last >/root/last; sync /root/last
	cloud actuator/relay/set "{\"state\":\"on\",\"id\":\"at-$(cat /root/last)\"}"
	soon 'the relay is on' relay_is 1
	soon 'the command is answered' seen "actuator/relay/result .*\"id\":\"at-$(cat /root/last)\".*\"applied\""
}

# the same command again gets the answer of before the boot; neither it nor anything else has driven an output on
not_again() {
	cloud actuator/relay/set "{\"state\":\"on\",\"id\":\"at-$(cat /root/last)\"}"
	soon 'the command of before is known' seen "actuator/relay/result .*\"id\":\"at-$(cat /root/last)\".*\"repeated\":true"
	is 'driven on since the boot' "$(driven_on)" 0
	is 'the relay' "$(relay)" 0; is 'the lamp' "$(led)" 0
}

run_first() {
	want 'the service is active without a manager' systemctl is-active -q meshgate
	names; parts
	want 'the port has its name' test /dev/smartmesh-api -ef /dev/ttyUSB0
	is 'the latency timer of the adapter' "$(cat /sys/bus/usb-serial/devices/ttyUSB0/latency_timer)" 1
	is 'the group of the chip' "$(stat -c '%G %a' "/dev/$(cat /sys/kernel/config/gpio-sim/board/bank0/chip_name)")" 'gpio 660'
	is 'the group of the LED' "$(stat -c '%G %a' /sys/class/leds/board:green:act/brightness)" 'gpio 664'
	cat >$conf <<-X
	id: sys
	managers:
	  - {name: main, port: /dev/smartmesh-api}
	actuators:
	  relay: {pin: RELAY}
	  lamp: {pin: "led:board:green:act"}
	inputs:
	  door: {pin: DOOR}
	bridges:
	  - {name: cloud, url: "mqtt://127.0.0.1:1883"}
	X
	want 'restart' systemctl restart meshgate
	soon 'status is well' meshgate status
	flowing 'over the cable'
	ok "the manager on /dev/smartmesh-api, group and latency of the devices are as they should be, readings flow"

	cloud actuator/relay/set on; soon 'the relay is on' relay_is 1
	cloud actuator/lamp/set on; soon 'the lamp is on' led_is 255
	gpio-sim.sh pull board 3 up; soon 'the door is seen open' seen 'input/door/state .*"state":"on"'
	gpio-sim.sh pull board 3 down; soon 'the door is seen closed' seen 'input/door/state .*"state":"off"'
	cloud actuator/relay/set off; soon 'the relay is off' relay_is 0
	cloud actuator/relay/set on; soon 'the relay is on again' relay_is 1
	# ExecStopPost has to do it: the next process comes too late here
	mkdir -p /run/systemd/system/meshgate.service.d
	printf '[Service]\nRestartSec=1h\n' >/run/systemd/system/meshgate.service.d/test.conf; systemctl daemon-reload
	local pid; pid=$(main_pid); kill -9 "$pid"
	soon 'the relay is safe after kill -9' relay_is 0
	soon 'the lamp is safe after kill -9' led_is 0
	is 'the next process' "$(main_pid)" 0
	rm -r /run/systemd/system/meshgate.service.d; systemctl daemon-reload
	systemctl restart meshgate # a start would wait for RestartSec
	soon 'status is well after kill -9' meshgate status
	ok 'relay, lamp and door work under the unit; outputs are safe after kill -9'

	local dev; dev=$(usb_of ttyUSB0) pid=$(main_pid)
	for n in 1 2 3; do
		usb unbind "$dev"; soon "status tells that the adapter is gone ($n)" not_well
		usb bind "$dev"; soon "status is well with the adapter back ($n)" meshgate status
		want 'the adapter has its old name' test /dev/smartmesh-api -ef /dev/ttyUSB0
	done
	flowing 'after the adapter was unplugged'
	is 'the process when the adapter is back' "$(main_pid)" "$pid"
	ok 'the adapter may come and go'

	# a boot without the adapter, whose driver is then loaded by the plug: the unit has to let it in all the same
	local other; other=$(usb_of ttyUSB1)
	systemctl stop meshgate cable; usb unbind "$dev"; usb unbind "$other"
	want 'the drivers are gone' sh -c 'rmmod ftdi_sio && rmmod usbserial'
	systemctl start meshgate
	soon 'status tells that there is no adapter' not_well
	usb bind "$dev"; soon 'ttyUSB0 is back' test -e /dev/ttyUSB0
	usb bind "$other"; soon 'ttyUSB1 is back' test -e /dev/ttyUSB1
	cable
	soon 'status is well with an adapter whose driver came after the start' meshgate status
	flowing 'over it'
	ok 'an adapter that is plugged in long after the start is let in'
	remember
	: >/run/systest-clean-poweroff
}

run_again() {
	soon 'the service comes up by itself' systemctl is-active -q meshgate
	parts
	soon 'status is well, pins and adapter that came late included' meshgate status
	flowing 'after the boot'
	want "the numbers go on from $(cat /root/last)" test "$(last)" -gt "$(cat /root/last)"
	not_again
	remember
	ok "booted: up by itself, at record $(last)"
	: >/run/systest-clean-poweroff
}

run_cut() {
	soon 'the service comes up by itself' systemctl is-active -q meshgate
	parts
	soon 'status is well' meshgate status
	flowing 'after the boot'
	want "the numbers go on from $(cat /root/last)" test "$(last)" -gt "$(cat /root/last)"
	not_again
	ok "at record $(last), after $(cat /root/last)"
	remember
	: >/job/out/ready
	while :; do date +%s%N >>/root/noise; sleep 0.05; done
}

"run_$1"
