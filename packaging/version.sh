#!/bin/sh
# version.sh - this tree's version, one that Debian sorts rightly too:
#   1.2.0                          the commit that is tagged v1.2.0 (v1.3.0-rc1 gives 1.3.0~rc1)
#   1.2.0+git20261125.012658.7775aca later ones
#   0.0~git20261125.012658.7775aca before the first tag: the commit's date and time in UTC
# and +dirty behind it when files differ from the commit. Without git: 0.0~unknown.
set -eu
cd "$(dirname "$0")/.."
hash=$(git rev-parse --short=7 HEAD 2>/dev/null) || { echo '0.0~unknown'; exit 0; }
when=$(TZ=UTC0 git log -1 --date=format-local:%Y%m%d.%H%M%S --format=%cd)
tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || :)
v=$(echo "${tag#v}" | sed 's/-/~/')
if [ -z "$tag" ]; then
	v=0.0~git$when.$hash
elif [ "$(git rev-parse "$tag^{commit}")" != "$(git rev-parse HEAD)" ]; then
	v=$v+git$when.$hash
fi
[ -z "$(git status --porcelain --untracked-files=no 2>/dev/null)" ] || v=$v+dirty
echo "$v"
