#!/bin/bash
# build.sh FILE - build the program for GOOS, GOARCH and GOARM, small: an SD card has to hold it, and a line in a field
# to carry it. VERSION is version.sh's unless it is set. What makes it small, and what it costs:
#  - Without HTTP/2 (0.5 MB), which nothing here speaks: console and API are HTTP/1.1, and so is MQTT over WebSocket.
#  - Without copies of functions at the places where they are called (-l; 0.7 MB), in what runs at a start, at a
#    handshake or at a command, and in strings, bytes, bufio and time, where it does not show. A start takes 2 ms of CPU
#    more, a TLS handshake what it took. Not in what runs for each reading: the runtime, the session with the manager, the
#    disk buffer; nor in the arithmetic of crypto/..., with which a handshake on a Pi Zero would take six times as long.
set -euo pipefail
cd "$(dirname "$0")/.."
small=()
c=crypto/internal/fips140 m=github.com/meshgate/meshgate
for p in net/... vendor/... crypto/tls/... crypto/x509/... crypto/{hpke,rsa,ecdsa,ecdh,ed25519} $c/{rsa,ecdsa,ecdh,ed25519} \
	math/big encoding/{asn1,json,hex,base64,pem,csv} regexp/... text/... archive/tar compress/... mime/... container/... sort flag \
	errors context fmt log/... reflect os/... io/fs path/... unicode/... golang.org/... \
	go.yaml.in/... periph.io/... go.bug.st/... github.com/{spf13,kardianos,eclipse,mochi-mqtt,coder,gorilla,creack}/... \
	$m/cmd/... $m/gateway/{config,control,console} $m/gpio \
	$m/smartmesh/{sim,tape,mux,health,oap} strings bytes bufio time; do
	small+=("-gcflags=$p=-l")
done
CGO_ENABLED=0 go build -trimpath -tags nethttpomithttp2 "${small[@]}" \
	-ldflags "-s -w -X main.version=${VERSION:-$(packaging/version.sh)}" -o "$1" ./cmd/meshgate
