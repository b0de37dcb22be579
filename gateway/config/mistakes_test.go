package config

import (
	"strings"
	"testing"
)

// mistakes are files with something wrong in them, and what is said of it, without "f.yaml:".
var mistakes = []struct {
	name, text string
	want       []string
}{
	{"empty", "", []string{`1:1: the file is empty; managers is required`}},
	{"comment only", "# x\n", []string{`1:1: the file is empty; managers is required`}},
	{"null", "~\n", []string{`1:1: missing key "managers" (one or more)`}},
	{"list", "- a\n", []string{`1:1: expected a mapping with version, id, state_dir, managers, actuators, inputs, automations, local, bridges, spool, http or log, found a list`}},
	{"text", "hello\n", []string{`1:1: expected a mapping with version, id, state_dir, managers, actuators, inputs, automations, local, bridges, spool, http or log, found text "hello"`}},
	{"two documents", minimal + "---\n" + minimal, []string{`2:1: a second document begins here; the file is to have one only`}},
	{"tab", "managers:\n\t- name: x\n", []string{`2:1: not YAML: a tab cannot indent in YAML; use spaces`}},
	{"bracket", "managers: [1, 2\nid: x\n", []string{`2:3: not YAML: while parsing a flow sequence: did not find expected ',' or ']'`}},
	{"unknown anchor", "managers: *x\n", []string{`1:11: not YAML: unknown anchor 'x' referenced`}},
	{"not UTF-8", "id: ok\nmanagers: ü\xff\n", []string{`2:12: byte 0xff is not UTF-8; save the file as UTF-8`}},
	{"control character", "id: a\x00b\n", []string{`1:6: character U+0000 has no place in this file`}},
	{"bare CR", "id: a\rversion: 1\n", []string{`1:6: character U+000D has no place in this file`}},
	{"UTF-16", "\xff\xfei\x00d\x00", []string{`1:1: byte 0xff is not UTF-8; save the file as UTF-8`}},
	{"BOM and CRLF", "\ufeffid: 'ä b'\r\n" + minimal + "ix: 1\r\n", []string{
		`1:5: id: name "ä b": only A-Z a-z 0-9 . _ - are allowed, because it becomes part of a topic`,
		`3:1: unknown key "ix"; known here: version, state_dir, actuators, inputs, automations, local, bridges, spool, http, log`}},
	{"twice", minimal + "id: a\nid: b\n", []string{`3:1: key "id" is here twice, first in line 2`}},
	{"merge", "spool: &s {max_age: 1s}\nhttp: {<<: *s}\n" + minimal, []string{
		`2:7: http: missing key "listen"`,
		`2:8: http: merge keys (<<) are not supported; write the keys out`}},
	{"key that is a list", minimal + "[a]: 3\n", []string{`2:1: a key is to be one plain word`}},
	{"alias to itself", "managers: &a [*a]\n", []string{`1:11: managers[0]: expected a mapping with name, port, data, temperature, allow, share or record, found a list`}},
	{"tag", minimal + "id: !mine x\nversion: !!binary MQ==\n", []string{
		`2:5: id: expected a name, found !mine "x"`, `3:10: version: expected a whole number, found !!binary "MQ=="`}},
	{"all at once", "idd: x\nmanagers:\n  - name: a b\n    prot: auto\nspool: {max_size: big, max_age: -1s}\nlog: {level: warning}\n", []string{
		`1:1: unknown key "idd", did you mean "id"?`,
		`3:5: managers[0]: missing key "port" (auto, a device path, tcp://HOST:PORT, mux://HOST:PORT or sim:?...)`,
		`3:11: managers[0].name: name "a b": only A-Z a-z 0-9 . _ - are allowed, because it becomes part of a topic`,
		`4:5: managers[0]: unknown key "prot", did you mean "port"?`,
		`5:19: spool.max_size: expected a size such as 256MiB, found text "big"`,
		`5:33: spool.max_age: -1s is out of range, 0s to 87600h`,
		`6:14: log.level: expected debug, info, warn or error, found "warning", did you mean "warn"?`}},

	{"version", minimal + "version: 2\n", []string{`2:10: version: version 2 is for a later meshgate; this one reads version 1`}},
	{"version, and what is new in it", minimal + "version: 2\nshields: up\nlog: all\n", []string{
		`2:10: version: version 2 is for a later meshgate; this one reads version 1`}},
	{"no version", minimal + "version: 0\n", []string{`2:10: version: 0 is out of range, 1 to 2147483647`}},
	{"octal", minimal + "version: 01\n", []string{`2:10: version: number 01 begins with a 0, which YAML readers take for octal; write it without`}},
	{"number as text", minimal + "version: '1'\n", []string{`2:10: version: expected a whole number, found text "1"`}},
	{"hex", minimal + "version: 0x1\n", []string{`2:10: version: expected a whole number, found 0x1`}},
	{"id empty", minimal + "id: ''\n", []string{`2:5: id: a name is to have at least one character of A-Z a-z 0-9 . _ -`}},
	{"id nothing", minimal + "id:\n", []string{`2:4: id: expected a name, found nothing`}},
	{"id dots", minimal + "id: ..\n", []string{`2:5: id: name "..": dots alone are no name`}},
	{"id wildcard", minimal + "id: a+b\n", []string{`2:5: id: name "a+b": only A-Z a-z 0-9 . _ - are allowed, because it becomes part of a topic`}},
	{"id long", minimal + "id: " + strings.Repeat("x", 65) + "\n", []string{`2:5: id: name "` + strings.Repeat("x", 65) + `" has more than 64 characters`}},
	{"line break", minimal + "state_dir: |\n  a\n", []string{`2:12: state_dir: line breaks and control characters have no place here`}},

	{"no managers", "managers: []\n", []string{`1:11: managers: expected one manager or more, found none`}},
	{"managers null", "managers:\nid: x\n", []string{`1:10: managers: expected one manager or more, found none`}},
	{"managers mapping", "managers: {main: {port: auto}}\n", []string{`1:11: managers: expected a list of managers, each with name and port, found a mapping (key: value)`}},
	{"same names and ports", "managers: [{name: a, port: auto}, {name: a, port: auto}]\n", []string{
		`1:42: managers[1].name: manager "a" is here twice, first in line 1`, `1:51: managers[1].port: port "auto" is here twice, first in line 1`}},
	{"port words", "managers: [{name: a, port: atuo}, {name: b, port: ttyUSB3}, {name: c, port: COM3}]\n", []string{
		`1:28: managers[0].port: expected auto, a device path such as /dev/ttyUSB3, tcp://HOST:PORT, mux://HOST:PORT or sim:?..., found "atuo", did you mean "auto"?`,
		`1:51: managers[1].port: expected auto, a device path or a URL, found "ttyUSB3", did you mean "/dev/ttyUSB3"?`,
		`1:77: managers[2].port: expected auto, a device path such as /dev/ttyUSB3, tcp://HOST:PORT, mux://HOST:PORT or sim:?..., found "COM3"`}},
	{"port URLs", "managers:\n- {name: a, port: 'tcp://h'}\n- {name: b, port: 'tcp://h:70000'}\n- {name: c, port: 'tcp:h:1'}\n- {name: d, port: 'http://h:1'}\n- {name: e, port: 'mux://'}\n- {name: f, port: 'tcp://1.2.3:4'}\n- {name: g, port: 'tpc://h:1'}\n", []string{
		`2:19: managers[0].port: expected HOST:PORT, found "h"`,
		`3:19: managers[1].port: port "70000" is out of range, 1 to 65535`,
		`4:19: managers[2].port: expected tcp://HOST:PORT, found "tcp:h:1"`,
		`5:19: managers[3].port: expected tcp://HOST:PORT, mux://HOST:PORT or sim:?..., found "http://h:1"`,
		`6:19: managers[4].port: host "" is neither a name nor an address`,
		`7:19: managers[5].port: host "1.2.3" is neither a name nor an address`,
		`8:19: managers[6].port: expected tcp://HOST:PORT, mux://HOST:PORT or sim:?..., found "tpc://h:1", did you mean "tcp"?`}},
	{"sim", "managers:\n- {name: a, port: 'sim:motes=5'}\n- {name: b, port: 'sim:?motes=5&motes=6'}\n- {name: c, port: 'sim:?motes=%zz'}\n- {name: d, port: 'sim:?motes='}\n", []string{
		`2:19: managers[0].port: expected sim: or sim:?motes=5&period=2s&seed=1, found "sim:motes=5"`,
		`3:19: managers[1].port: key "motes" of sim: is to be there once, with a value`,
		`4:19: managers[2].port: expected sim:?motes=5&period=2s&seed=1, found "sim:?motes=%zz"`,
		`5:19: managers[3].port: key "motes" of sim: is to be there once, with a value`}},
	{"data", "managers: [{name: a, port: auto, data: unack}]\n", []string{`1:40: managers[0].data: expected reliable or unacknowledged, found "unack", did you mean "unacknowledged"?`}},
	{"temperature", "managers:\n- {name: a, port: auto, temperature: 30s}\n- {name: b, port: /b, temperature: {}}\n- {name: c, port: /c, temperature: {every: 30}}\n- {name: d, port: /d, temperature: {every: 1ms}}\n- {name: e, port: /e, temperature: {every: 1500500us}}\n- {name: f, port: /f, temperature: {every: 1d}}\n", []string{
		`2:38: managers[0].temperature: expected a mapping with every, found text "30s"`,
		`3:36: managers[1].temperature: missing key "every"`,
		`4:44: managers[2].temperature.every: expected a duration such as 30s, 10m or 1h30m, found 30 without a unit`,
		`5:44: managers[3].temperature.every: 1ms is out of range, 100ms to 24h`,
		`6:44: managers[4].temperature.every: 1.5005s: a mote counts in whole milliseconds`,
		`7:44: managers[5].temperature.every: expected a duration such as 30s, 10m or 1h30m, found "1d"; a day is 24h`}},
	{"allow", "managers: [{name: a, port: auto, allow: [reset, 'set network', reset, [x]]}]\n", []string{
		`1:49: managers[0].allow[1]: expected the name of an API command such as setNetworkConfig, found "set network"`,
		`1:64: managers[0].allow[2]: "reset" is here twice`,
		`1:71: managers[0].allow[3]: expected API commands such as setNetworkConfig, found a list`}},
	{"share", "managers: [{name: a, port: auto, share: {listen: '0.0.0.0:9900', user: x}}, {name: b, port: /b, share: {}}]\n", []string{
		`1:50: managers[0].share.listen: 0.0.0.0:9900 can be reached from other machines: users is needed (or listen on 127.0.0.1)`,
		`1:66: managers[0].share: unknown key "user", did you mean "users"?`,
		`1:104: managers[1].share: missing key "listen" such as 127.0.0.1:9900`}},

	{"actuators", minimal + `actuators:
  a/b: {pin: sim}
  c: {}
  d: {pin: GPIO1, safe: maybe, lease: 10m, max_on: 10m, rate: 70000}
  e: {pin: GPIO1, interlock: [d, f, e, zzz]}
  f1: {pin: sim, on_link_loss: off, link_loss_delay: 3s}
  g: {group: [d, e1], pin: sim}
  h: {group: []}
  i: {pin: GPIO9, kind: pwm}
  j: GPIO4
`, []string{
		`3:3: actuators.a/b: name "a/b": only A-Z a-z 0-9 . _ - are allowed, because it becomes part of a topic`,
		`4:6: actuators.c: missing key "pin" such as GPIO17, led:ACT or sim`,
		`5:25: actuators.d.safe: expected on or off, found text "maybe"`,
		`5:39: actuators.d.lease: lease 10m is not shorter than max_on 10m, so it would never run out`,
		`5:63: actuators.d.rate: 70000 is out of range, 0 to 60000`,
		`6:12: actuators.e.pin: d has GPIO1 already`,
		`6:34: actuators.e.interlock[1]: there is no actuator "f", did you mean "f1"?`,
		`6:37: actuators.e.interlock[2]: "e" is the actuator itself`,
		`6:40: actuators.e.interlock[3]: there is no actuator "zzz"`,
		`7:32: actuators.f1.on_link_loss: expected keep or safe, found "off"`,
		`7:37: actuators.f1.link_loss_delay: link_loss_delay has no meaning without on_link_loss: safe`,
		`8:18: actuators.g.group[1]: there is no actuator "e1", did you mean "f1"?`,
		`8:23: actuators.g.pin: pin has no meaning for a group; it belongs to the members`,
		`9:14: actuators.h.group: a group is to have one member or more`,
		"10:25: actuators.i.kind: kind pwm is refused: GPIO9 is a line of a GPIO chip, which only switches; a PWM channel is written pin: pwm:CHIP/CHANNEL (`meshgate gpio` lists them)",
		`11:6: actuators.j: expected a mapping with pin, kind, active_low, safe, max_on, min_off, lease, rate, interlock, on_link_loss, link_loss_delay or group, found text "GPIO4"`,
	}},
	{"what gpio says", minimal + "actuators:\n  a: {pin: sim, safe: on, max_on: 5m}\n  b: {pin: 'led:'}\ninputs:\n  c: {pin: 'led:x', active_low: 'true'}\n", []string{
		`3:35: actuators.a.max_on: is for outputs whose safe state is off: it would keep this one from its safe state`,
		`4:12: actuators.b.pin: "" is not the name of an LED`,
		`6:12: inputs.c.pin: an LED cannot be an input`}},
	{"inputs", minimal + "inputs: {a: {pin: ' ', pull: upp, debounce: 1h}, b: {pull: up}, c: {pin: sim, active_low: 1}}\n", []string{
		`2:19: inputs.a.pin: expected the name of a pin such as GPIO17, found nothing`,
		`2:30: inputs.a.pull: expected up, down or none, found "upp", did you mean "up"?`,
		`2:45: inputs.a.debounce: 1h is out of range, 0s to 10s`,
		`2:53: inputs.b: missing key "pin" such as GPIO27`,
		`2:91: inputs.c.active_low: expected true or false, found 1`}},
	{"inputs list", minimal + "inputs: [door]\n", []string{`2:9: inputs: expected a mapping of names to inputs such as door: {pin: GPIO27}, found a list`}},

	{"local neither", minimal + "local: {tls: {ca: ''}}\n", []string{`2:8: local: missing key "listen" (a broker inside the daemon) or "broker" (the one that runs here)`}},
	{"local both", minimal + "local: {listen: 'tcp://127.0.0.1:1', broker: 'tcp://127.0.0.1:2'}\n", []string{`2:38: local.broker: listen and broker are both here; it is either a broker of its own or the one that runs here`}},
	{"local listen", minimal + "local: {listen: 'tcp://:1883', username: u}\n", []string{
		`2:17: local.listen: :1883 can be reached from other machines: users is needed (or listen on 127.0.0.1)`,
		`2:32: local.username: username has no meaning with listen`}},
	{"local listen scheme", minimal + "local: {listen: 'mqtts://127.0.0.1:8883'}\n", []string{
		`2:17: local.listen: mqtts:// needs a certificate: tls: {cert: FILE, key: FILE}`}},
	{"local listen form", minimal + "local: {listen: '127.0.0.1:1883'}\n", []string{
		`2:17: local.listen: expected tcp://HOST:PORT, found "127.0.0.1:1883"; schemes are mqtt, mqtts, tcp, tls, ws or wss`}},
	{"local broker", minimal + "local: {broker: 'ssl://127.0.0.1', acl: x}\n", []string{
		`2:17: local.broker: scheme "ssl" is not known here; expected mqtt, mqtts, tcp or tls, did you mean "mqtts"?`,
		`2:36: local.acl: acl has no meaning with broker`}},
	{"http", minimal + "http: {listen: '192.168.1.5:8080'}\n", []string{
		`2:16: http.listen: 192.168.1.5:8080 can be reached from other machines: users is needed (or listen on 127.0.0.1)`}},
	{"http form", minimal + "http: {listen: 8080}\n", []string{`2:16: http.listen: expected HOST:PORT, found "8080"`}},
	{"http users", minimal + "http: {listen: '[::1]:8080', users: none}\n", []string{`2:30: http.users: DIR/none: no such file or directory`}},
	{"one address twice", minimal + "local: {listen: 'tcp://127.0.0.1:1883'}\nhttp: {listen: 'localhost:1883'}\nbridges: [{name: a, url: 'mqtt://[::1]:1883'}, {name: b, url: 'mqtt://127.0.0.1'}]\n", []string{
		`3:16: http.listen: localhost:1883 is taken by local.listen already`,
		`4:63: bridges[1].url: 127.0.0.1:1883 is the daemon's own broker (local.listen)`}},
	{"spool", minimal + "spool: {max_size: 256M, max_age: 1w, when_full: block, sync: 2m}\n", []string{
		`2:19: spool.max_size: expected a size such as 256MiB, found "256M"; units are B, kB, MB, GB, TB, KiB, MiB, GiB and TiB, did you mean "MB"?`,
		`2:34: spool.max_age: expected a duration such as 30s, 10m or 1h30m, found text "1w"`,
		`2:49: spool.when_full: expected drop-oldest or drop-newest, found "block"`,
		`2:62: spool.sync: 2m is out of range, 0s to 1m`}},
	{"spool range", minimal + "spool: {max_size: 10KiB}\n", []string{`2:19: spool.max_size: 10KiB is out of range, 64KiB to 1TiB`}},
	{"spool overflow", minimal + "spool: {max_size: 99999999999999TiB}\n", []string{`2:19: spool.max_size: 99999999999999TiB is out of range, 64KiB to 1TiB`}},

	{"bridge keys", minimal + "bridges:\n- {nme: a, url: mqtts://h, keepalive: 0s, backlog_rate: fast, plaintext: maybe}\n- {name: a, url: mqtts://h, client_id: a}\n- {name: a, url: mqtts://h, client_id: b, keepalive: 1500ms, backlog_rate: -1}\n- h\n", []string{
		`3:3: bridges[0]: missing key "name"`,
		`3:4: bridges[0]: unknown key "nme", did you mean "name"?`,
		`3:39: bridges[0].keepalive: 0s is out of range, 1s to 18h12m15s`,
		`3:57: bridges[0].backlog_rate: expected a whole number, found text "fast"`,
		`3:74: bridges[0].plaintext: expected true or false, found text "maybe"`,
		`5:10: bridges[2].name: bridge "a" is here twice, first in line 4`,
		`5:54: bridges[2].keepalive: 1.5s: MQTT counts in whole seconds`,
		`5:76: bridges[2].backlog_rate: -1 is out of range, 0 to 1000000`,
		`6:3: bridges[3]: expected a mapping with name, url, urls, client_id, username, password_file, tls, keepalive, backlog_rate, prefix, topics, plaintext or canary, found text "h"`}},
	{"bridge URLs", minimal + "bridges:\n- {name: a}\n- {name: b, url: h, urls: [h]}\n- {name: c, urls: []}\n- {name: d, urls: [mqtts://h, 'mqtts://h:8883', 'mqtt:h', 'mqtts://', 'mqtts://h:0', 'tcp://h', 'mqtts://h/x', 'mqtts://h#', 'mqtts://a b', 'mqtts://u:p@h']}\n", []string{
		`3:3: bridges[0]: missing key "url" such as mqtts://HOST:8883`,
		`4:21: bridges[1].urls: url and urls are both here; one of them is enough`,
		`5:19: bridges[2].urls: expected one URL or more, found none`,
		`6:31: bridges[3].urls[1]: "mqtts://h:8883" is here twice`,
		`6:49: bridges[3].urls[2]: expected a URL such as mqtt://HOST:PORT, found "mqtt:h"`,
		`6:59: bridges[3].urls[3]: expected a URL such as mqtt://HOST:PORT, found "mqtts://"`,
		`6:71: bridges[3].urls[4]: port "0" is out of range, 1 to 65535`,
		`6:86: bridges[3].urls[5]: scheme "tcp" is not known here; expected mqtt, mqtts, ws or wss, did you mean "mqtt"?`,
		`6:97: bridges[3].urls[6]: a path has no meaning with mqtts://`,
		`6:112: bridges[3].urls[7]: a fragment (#...) has no meaning here`,
		`6:126: bridges[3].urls[8]: expected a URL such as mqtt://HOST:PORT, found "mqtts://a b"`,
		`6:141: bridges[3].urls[9]: a URL is no place for a user or a password: use username and password_file`}},
	{"plaintext", minimal + `bridges:
- {name: a, url: mqtt://h, client_id: a}
- {name: b, url: ws://h, client_id: b, username: u, topics: []}
- {name: c, url: mqtt://h, client_id: c, topics: ["mote/# out"]}
- {name: d, url: mqtt://h, client_id: d, plaintext: true}
- {name: e, url: "mqtt://127.0.0.9", client_id: e, username: u}
- {name: f, urls: [mqtts://h, "mqtt://10.0.0.1"], client_id: f}
`, []string{
		`3:18: bridges[0].url: mqtt://h:1883 is not encrypted: its commands can be forged on the way; use mqtts://, or say plaintext: true`,
		`4:18: bridges[1].url: ws://h:80 is not encrypted: its username and password can be read on the way; use wss://, or say plaintext: true`,
		`8:31: bridges[5].urls[1]: mqtt://10.0.0.1:1883 is not encrypted: its commands can be forged on the way; use mqtts://, or say plaintext: true`}},
	{"tls without TLS", minimal + "bridges: [{name: a, url: mqtt://localhost, tls: {server_name: h}}]\n", []string{
		`2:44: bridges[0].tls: tls has no effect without an mqtts:// or wss:// URL`}},
	{"one client id", minimal + "bridges: [{name: a, url: mqtts://h}, {name: b, url: 'mqtts://H:8883', client_id: x}, {name: c, urls: [mqtts://x, mqtts://h]}]\nid: g\n", []string{
		`2:86: bridges[2]: client id "meshgate-g" is that of bridge "a" at the same broker; give each a client_id of its own`}},
	{"prefix", minimal + "bridges: [{name: a, url: mqtts://h, prefix: a/+/}]\n", []string{`2:45: bridges[0].prefix: topic "a/+/" has the wildcard '+', which only a filter may have`}},
	{"rules", minimal + `bridges:
- name: a
  url: mqtts://h
  topics:
    - {topic: "mote/#/x", direction: out, qos: 1}
    - {topic: a, direction: inn, qos: 3, retain: kept}
    - {topc: a}
    - "a up 1"
    - "a out 1"
    - "a out 0"
    - [a]
    - {topic: "", local_prefix: a}
`, []string{
		`6:15: bridges[0].topics[0].topic: filter "mote/#/x" has a level after #; # is the last one`,
		`7:29: bridges[0].topics[1].direction: expected out, in or both, found "inn", did you mean "in"?`,
		`7:39: bridges[0].topics[1].qos: 3 is out of range, 0 to 2`,
		`7:50: bridges[0].topics[1].retain: expected keep, strip or force, found "kept"`,
		`8:7: bridges[0].topics[2]: missing key "topic"`,
		`8:8: bridges[0].topics[2]: unknown key "topc", did you mean "topic"?`,
		`9:7: bridges[0].topics[3]: rule "a up 1": direction "up" is none of out, in, both`,
		`11:7: bridges[0].topics[5]: the rule is here twice, first in line 10`,
		`12:7: bridges[0].topics[6]: expected a mapping with topic, or text as in mosquitto.conf, found a list`,
		`13:7: bridges[0].topics[7]: rule "\"\" out 1 a \"\"": an empty pattern needs a local and a remote prefix: the two topics`}},
	{"loop", minimal + `bridges:
- {name: a, url: mqtts://h, topics: ["lamp/+/state both", "# out"]}
- {name: b, url: mqtts://i, topics: ["lamp/7/# out", "#  in 0"]}
- {name: c, url: mqtts://j, topics: ["lamp/+/state both 0 x/"]}
- {name: d, url: mqtts://k, topics: ["# out"]}
`, []string{
		`4:29: bridges[1].topics: topic "lamp/7/state" is carried in both directions by bridge "b" (lamp/7/# out 0 "" PREFIX; # in 0 "" PREFIX) and bridge "a" (lamp/+/state both 0 "" PREFIX) and could echo between them for ever`}},
	{"neighbour out", minimal + "local: {broker: 'tcp://127.0.0.1'}\nbridges: [{name: a, url: mqtts://h, topics: ['# out']}, {name: b, urls: [mqtts://i, 'ws://LOCALHOST:1883'], prefix: '', topics: ['dev/+ out 1']}]\n", []string{
		`3:85: bridges[1].urls[1]: LOCALHOST:1883 is local.broker as well, and a message to "dev/x" would go round for ever between bridges: ` +
			`b: "dev/+ out 1 \"\" \"\"" carries dev/x out to dev/x; local.broker: "# in 0" carries dev/x in to dev/x; a prefix, or other topics, would keep the two apart`}},
	{"neighbour in", minimal + "local: {broker: 'tls://Broker.lan:1'}\nbridges: [{name: a, url: mqtts://broker.lan.:1, topics: ['x/# in 1 \"\" \"\"']}]\n", []string{
		`3:26: bridges[0].url: broker.lan.:1 is local.broker as well, and a message to "x/x" would go round for ever between bridges: ` +
			`local.broker: "# out 0" carries x/x out to x/x; a: "x/# in 1 \"\" \"\"" carries x/x in to x/x; a prefix, or other topics, would keep the two apart`}},
	{"long loop", minimal + `bridges:
- {name: a, url: mqtts://h, topics: ["t out 0 \"\" a/", "t in 0 u/ a/"]}
- {name: b, url: mqtts://i, topics: ["u/t out 0 \"\" b/", "t in 0 \"\" b/u/"]}
`, []string{
		`2:1: bridges: a message to "u/t" would go round for ever between bridges: b: "u/t out 0 \"\" b/" carries u/t out to b/u/t; ` +
			`b: "t in 0 \"\" b/u/" carries b/u/t in to t; a: "t out 0 \"\" a/" carries t out to a/t; a: "t in 0 u/ a/" carries a/t in to u/t`}},
}

func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	prefix := "meshgate/" + mustRead(t, dir, minimal).ID + "/"
	for _, tt := range mistakes {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(dir, tt.text)
			if err == nil {
				t.Fatalf("nothing is wrong with\n%s", tt.text)
			}
			got := strings.NewReplacer("f.yaml:", "", prefix, "PREFIX", dir, "DIR").Replace(err.Error())
			if want := strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestManyMistakes(t *testing.T) {
	text := minimal + strings.Repeat("x: 1\n", 150)
	_, err := read("/", text)
	lines := strings.Split(err.Error(), "\n")
	if want := "f.yaml:102:1: and 50 more mistakes from here on"; len(lines) != maxErrors+1 || lines[maxErrors] != want {
		t.Errorf("%d lines, the last %q, want %q", len(lines), lines[len(lines)-1], want)
	}
	_, err = read("/", "managers: &m [{name: a, port: auto}]\nbridges: [{name: b, url: mqtts://h, topics: &t ["+strings.Repeat("a,", 900)+"]}"+
		strings.Repeat(", {name: c, url: mqtts://h, topics: *t}", 60)+"]\n")
	if want := "f.yaml:2:649: bridges[55].topics[300]: the file has more than 100000 values"; err == nil || err.Error() != want {
		t.Errorf("aliases: %.300s", err)
	}
	if _, err := read("/", strings.Repeat("#", maxFile+1)); err == nil || err.Error() != "f.yaml:1:1: the file is larger than 1 MiB" {
		t.Errorf("large file: %.300s", err)
	}
}

func TestDetail(t *testing.T) {
	_, err := read("/", minimal+"log:\n\tlevel: x\n")
	if want := "f.yaml:3:1: not YAML: a tab cannot indent in YAML; use spaces\n    3 | \tlevel: x\n      | ^"; err.(Errors).Detail() != want {
		t.Errorf("got\n%s\nwant\n%s", err.(Errors).Detail(), want)
	}
	_, err = read("/", minimal+"bridges: [{name: ü, passwort: x}]\nspool: {when_full: dropoldest}\n")
	want := strings.Join([]string{
		`f.yaml:2:11: bridges[0]: missing key "url" such as mqtts://HOST:8883`,
		`    2 | bridges: [{name: ü, passwort: x}]`,
		`      |           ^`,
		`f.yaml:2:18: bridges[0].name: name "ü": only A-Z a-z 0-9 . _ - are allowed, because it becomes part of a topic`,
		`    2 | bridges: [{name: ü, passwort: x}]`,
		`      |                  ^`,
		`f.yaml:2:21: bridges[0]: unknown key "passwort"; known here: url, urls, client_id, username, password_file, tls, keepalive, backlog_rate, prefix, topics, plaintext, canary`,
		`    2 | bridges: [{name: ü, passwort: x}]`,
		`      |                     ^`,
		`f.yaml:3:20: spool.when_full: expected drop-oldest or drop-newest, found "dropoldest", did you mean "drop-oldest"?`,
		`    3 | spool: {when_full: dropoldest}`,
		`      |                    ^`,
	}, "\n")
	if got := err.(Errors).Detail(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
