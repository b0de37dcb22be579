#!/bin/bash
# build-deb.sh [-o FOLDER] [-b PROGRAM] [ARCH ...] - make meshgate_VERSION_ARCH.deb for amd64, arm64 and armhf, or those
# that are named, in FOLDER (dist), and print their paths. armhf is GOARM=6: it runs on a Pi Zero too.
#   -b PROGRAM  take this program, instead of building it, for an ARCH of this machine
# VERSION is version.sh's unless it is set. The same commit gives the same bytes: all times are the commit's
# (SOURCE_DATE_EPOCH), nothing comes from this machine.
set -euo pipefail
umask 022
out='' program=''
while getopts o:b:h o; do case $o in
	o) out=$OPTARG ;; b) program=$(realpath "$OPTARG") ;;
	*) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac; done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- amd64 arm64 armhf
cd "$(dirname "$0")/.."
root=$PWD
out=$(mkdir -p "${out:-dist}" && cd "${out:-dist}" && pwd)
export VERSION=${VERSION:-$(packaging/version.sh)} TZ=UTC0 LC_ALL=C
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

# changelog : one entry, with the subjects of the commits since the last tag
changelog() {
	echo "meshgate ($VERSION-1) unstable; urgency=medium"; echo
	local since; since=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || :)
	git log -50 --no-merges --format=%s ${since:+"$since.."} | awk 'length > 0' | fold -s -w 72 |
		sed -e 's/^/    /' -e 's/ *$//' | awk 'NR == 1 {print "  * Changes:"} {print}'
	echo; echo " -- meshgate maintainers <meshgate@users.noreply.github.com>  $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

# what is the same in every package
if [ -n "$program" ]; then cp "$program" "$work/host"; else packaging/build.sh "$work/host"; fi
mkdir "$work/docs" && "$work/host" docs "$work/docs"
"$work/host" check --config packaging/gateway.yaml >/dev/null || { echo 'the default configuration is not valid' >&2; exit 1; }
changelog >"$work/docs/changelog.Debian"
gzip -9n "$work"/docs/{meshgate.1,gateway.yaml.5,changelog.Debian}
(cd packaging/tools && go run ./licences "$root") >"$work/docs/copyright"

for arch; do
	BUILD=$work/$arch; export BUILD
	cp -r "$work/docs" "$BUILD"
	case $arch in
	armhf) ARCH=arm6; GOARCH=arm GOARM=6 packaging/build.sh "$BUILD/meshgate" ;;
	amd64 | arm64)
		ARCH=$arch
		if [ -n "$program" ]; then cp "$program" "$BUILD/meshgate"; else GOARCH=$arch packaging/build.sh "$BUILD/meshgate"; fi ;;
	*) echo "unknown architecture $arch" >&2; exit 2 ;;
	esac
	export ARCH
	deb=$out/meshgate_$VERSION-1_$arch.deb
	go tool -modfile=packaging/tools/go.mod nfpm package -f packaging/nfpm.yaml -p deb -t "$deb" >&2
	echo "$deb"
done
