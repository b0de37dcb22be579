# packaging.mk - the packages and the tests of the whole system; included by the Makefile. `make deb` needs Go and git;
# the rest Debian or Ubuntu, root, and what the scripts of packaging/systest install by themselves.

.PHONY: deb deb-same lintian systest vm-deb systest-vm systest-hands systest-all powercut diskfaults bench-wear

DEBARCH = $(shell dpkg --print-architecture)
SYSTEST := packaging/systest
# what the tests talk to, in the images of container and VMs alike
PEERS   := mosquitto,mosquitto-clients,socat
# the package of this machine in two versions, for upgrades
PAIR = rm -rf dist/systest && for v in old new; do \
	VERSION=$$(packaging/version.sh)$$([ $$v = old ] || echo +next) packaging/build-deb.sh -o dist/systest/$$v $(1) || exit 1; done

deb: ## the packages for amd64, arm64 and armhf: dist/meshgate_VERSION_ARCH.deb
	rm -f dist/*.deb
	packaging/build-deb.sh

deb-same: ## the same commit gives the same bytes, from another folder, at another time, with another umask
	packaging/check-same.sh

lintian: deb ## lintian (an error or a warning fails) and piuparts
	$(SYSTEST)/check-deb.sh dist/*.deb

systest: ## the package's life in a container: installed, restarted (RESTARTS times, 50), killed, hung, upgraded, removed, purged; a service without it
	$(call PAIR,$(DEBARCH))
	$(SYSTEST)/run-in-nspawn.sh -t mqtt -i $(PEERS) -T 300 \
		-d "$$(ls dist/systest/old/*.deb)" -f "$$(ls dist/systest/new/*.deb)" $(SYSTEST)/life.sh $(RESTARTS)
	packaging/build.sh dist/systest/meshgate
	$(SYSTEST)/run-in-nspawn.sh -t mqtt -i $(PEERS) -f dist/systest/meshgate $(SYSTEST)/service.sh

VMARCH ?= amd64
VMDEB   = $$(ls dist/systest/vm/*.deb)
vm-deb:
	rm -rf dist/systest/vm
	packaging/build-deb.sh -o dist/systest/vm $(VMARCH)

systest-vm: vm-deb ## a VM (VMARCH) with GPIO, an LED, a USB adapter that is unplugged, a reboot and power cuts
	$(SYSTEST)/board.sh $(VMARCH) $(PEERS) "$(VMDEB)"

systest-hands: vm-deb ## a VM (VMARCH) whose lines and LED are switched, watched, killed over, taken away and brought back
	$(SYSTEST)/run-in-vm.sh -a $(VMARCH) -t board -i $(PEERS) -T 1200 -d "$(VMDEB)" $(SYSTEST)/hands.sh

systest-all: systest ## that, and VMs of all three architectures
	for a in amd64 arm64 armhf; do $(MAKE) systest-vm systest-hands VMARCH=$$a || exit 1; done

CUTS    ?= 67
RECORDS ?= 2500
POWERCUT = dist/powercut -size 16 -limit 10m -run "dist/spool.test -test.run '^TestPowerCutWriter'" -check "dist/spool.test -test.run '^TestPowerCutJudge'"
powercut: ## the spool on a disk whose power is cut at CUTS instants, three disks each, and at some with spool.sync (root, /dev/fuse, loop)
	cd $(SYSTEST)/powercut && go build -o $(CURDIR)/dist/powercut .
	go test -c -o dist/spool.test ./bridge/spool
	POWERCUT_RECORDS=$(RECORDS) $(POWERCUT) -cuts $(CUTS)
	POWERCUT_SYNC=20ms POWERCUT_RECORDS=$(RECORDS) $(POWERCUT) -cuts $$(($(CUTS) / 5))

diskfaults: ## the gateway on disks that turn read-only, cannot write, and fill (root, /dev/fuse, loop, mosquitto)
	cd $(SYSTEST)/powercut && go build -o $(CURDIR)/dist/faulty ./faulty
	MESHGATE_FAULTY=$(CURDIR)/dist/faulty unshare -m go test -count=1 -run '^TestDisk' ./cmd/meshgate

WEARTIME ?= 1m
bench-wear: ## bytes and flushes that reach a disk, beside SQLite and bbolt in the same run (root, loop, a C compiler)
	cd packaging/bench && CGO_ENABLED=1 CGO_CFLAGS='-O2 -DHAVE_FDATASYNC=1' go build -o $(CURDIR)/dist/wear .
	unshare -m dist/wear -time $(WEARTIME)
