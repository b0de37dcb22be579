#!/bin/bash
# check-same.sh [ARCH] - build the package twice from the same commit, the second time from a clone in another folder
# with another umask, time zone and language, and see that the bytes are the same.
set -euo pipefail
arch=${1:-armhf}
cd "$(dirname "$0")/.."
tmp=$(mktemp -d); trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
git clone -q . "$tmp/a/first"
(umask 077; git clone -q . "$tmp/b-elsewhere/second")
a=$("$tmp/a/first/packaging/build-deb.sh" -o "$tmp/1" "$arch" 2>/dev/null)
sleep 1
b=$(umask 077; TZ=Asia/Kolkata LANG=tr_TR.UTF-8 "$tmp/b-elsewhere/second/packaging/build-deb.sh" -o "$tmp/2" "$arch" 2>/dev/null)
cmp "$a" "$b"
echo "ok   $(basename "$a") is the same from both: $(sha256sum <"$a" | cut -c1-16)..."
