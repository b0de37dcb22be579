#!/bin/bash
# build.sh FILE - build the program for GOOS, GOARCH and GOARM, small: an SD card has to hold it, and a line in a field
# to carry it. Without HTTP/2, which nothing here speaks, and without copies of functions where they save no time that
# counts: what runs at a start, at a handshake, at a command. (Not crypto/...: a handshake on a Pi Zero would take six times as long.) VERSION is version.sh's unless it is set.
set -euo pipefail
cd "$(dirname "$0")/.."
small=()
for p in net/... vendor/... crypto/tls/... crypto/x509/... encoding/asn1 math/big regexp/... text/... go.yaml.in/... github.com/spf13/... \
	fmt log/... reflect encoding/json periph.io/... go.bug.st/... golang.org/x/... github.com/meshgate/meshgate/gpio \
	github.com/kardianos/... github.com/eclipse/... github.com/coder/... github.com/gorilla/... \
	github.com/meshgate/meshgate/cmd/... github.com/meshgate/meshgate/gateway/config github.com/meshgate/meshgate/smartmesh/sim; do
	small+=("-gcflags=$p=-l")
done
CGO_ENABLED=0 go build -trimpath -tags nethttpomithttp2 "${small[@]}" \
	-ldflags "-s -w -X main.version=${VERSION:-$(packaging/version.sh)}" -o "$1" ./cmd/meshgate
