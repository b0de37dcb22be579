package main

// unitText is packaging/meshgate.service word for word, for machines without the package; a test
// holds them together.
const unitText = `[Unit]
Description=SmartMesh IP to MQTT edge gateway
Documentation=man:meshgate(1) man:gateway.yaml(5)
# Not network-online.target: a gateway in a field measures without a network too, and connects when there is one.
# DeviceAllow below is resolved once, at the start, and knows a driver only when it is loaded: so load those of the
# USB adapters first, or one that is plugged in later could not be opened.
Wants=modprobe@usbserial.service modprobe@cdc_acm.service
After=network.target modprobe@usbserial.service modprobe@cdc_acm.service
# never give up
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStartPre=/usr/bin/meshgate check
ExecStart=/usr/bin/meshgate run
ExecReload=/bin/kill -HUP $MAINPID
# outputs go to their safe state also when the daemon was killed
ExecStopPost=-/usr/bin/meshgate safe
Restart=always
RestartSec=2
WatchdogSec=60
TimeoutStartSec=60
TimeoutStopSec=20
FileDescriptorStoreMax=8

User=meshgate
Group=meshgate
SupplementaryGroups=dialout gpio
StateDirectory=meshgate
StateDirectoryMode=0750
RuntimeDirectory=meshgate
RuntimeDirectoryMode=0750
UMask=0027
# select(2) of the serial library ends at 1024
LimitNOFILE=1024
# Secrets need not be files that the daemon's user can read for ever; ` + "`" + `systemctl edit meshgate` + "`" + ` and add
#   [Service]
#   LoadCredential=cloud.password:/etc/meshgate/cloud.password
# then password_file: /run/credentials/meshgate.service/cloud.password

# devices: serial ports and GPIO, nothing else. PrivateDevices would hide them.
DevicePolicy=closed
DeviceAllow=char-ttyUSB rw
DeviceAllow=char-ttyACM rw
DeviceAllow=char-ttyAMA rw
DeviceAllow=char-ttyS rw
DeviceAllow=char-ttyO rw
DeviceAllow=char-gpiochip rw
# LEDs are switched in /sys, which ProtectKernelTunables closes; who may write what is left to the files' own modes.
ReadWritePaths=-/sys/devices

CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectProc=invisible
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
# ProtectClock is left out: it would hide from the daemon whether the clock is synchronised (adjtimex), and before
# systemd 253 it closes the devices above. Without capabilities the clock cannot be set anyway.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service adjtimex clock_adjtime
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
`
