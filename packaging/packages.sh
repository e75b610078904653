#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the packages: for the device, its pages for a browser and the account service, each as .deb,
# .rpm and .apk, from bin/ and the tree.
#
#   packaging/packages.sh NFPM DIST
#
# VERSION is what the programs say of themselves. The same commit makes the same
# packages: every time in them is the commit's.
set -euo pipefail

cd "$(dirname "$0")/.."
nfpm=${1:?path of nfpm}
dist=${2:?folder for the packages}

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
PACKAGE_ARCH=$(go env GOARCH)
export SOURCE_DATE_EPOCH PACKAGE_ARCH PACKAGE_VERSION PACKAGE_TREE

# package_version: a version that all three formats take. Before the first tag it
# sorts below every release.
package_version() {
    local v=${VERSION:?} day
    v=${v#v}
    day=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)
    case $v in
        [0-9]*.[0-9]*) printf '%s' "${v//-/.}" ;;
        *) printf '0.0.%s' "$day" ;;
    esac
}

# licences FILE PROGRAM...: the terms of every library that is in the programs, and of what
# they embed that is not ours.
licences() {
    local to=$1 module where file
    shift
    while read -r module where; do
        printf '\n==== %s\n' "$module"
        for file in "$where"/{LICENSE,LICENCE,COPYING,NOTICE}*; do
            [ ! -f "$file" ] || cat "$file"
        done
    done < <(go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}' "${@/#/./cmd/}" | sort -u) >"$to"
    go list -deps -f '{{range .EmbedFiles}}{{$.Dir}}/{{.}}{{"\n"}}{{end}}' "${@/#/./cmd/}" | { grep '/LICENSE\.txt$' || :; } |
        while read -r file; do
            printf '\n==== %s\n' "$(basename "$(dirname "$file")")"
            cat "$file"
        done >>"$to"
    { printf '\n==== Go, its standard library and runtime\n'; cat "$(go env GOROOT)/LICENSE"; } >>"$to"
}

docs() { # NAME FORMAT PROGRAM...
    local name=$1 format=$2 doc=$PACKAGE_TREE/usr/share/doc/$1
    shift 2
    install -d "$doc"
    licences "$doc/third-party-licences" "$@"
    gzip -9 -n "$doc/third-party-licences"
    if [ "$format" = deb ]; then
        install -m 644 packaging/nfpm/deb/copyright "$doc/copyright"
        {
            printf '%s (%s-1) unstable; urgency=medium\n\n' "$name" "$PACKAGE_VERSION"
            printf '  * Built from the upstream sources; see changelog.gz.\n\n'
            printf ' -- accountlock developers <developers@accountlock.org>  %s\n' "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
        } | gzip -9 -n >"$doc/changelog.Debian.gz"
        gzip -9 -n -c CHANGELOG.md >"$doc/changelog.gz"
        if [ -f "packaging/nfpm/deb/$name.lintian-overrides" ]; then
            install -D -m 644 "packaging/nfpm/deb/$name.lintian-overrides" "$PACKAGE_TREE/usr/share/lintian/overrides/$name"
        fi
    else
        install -m 644 LICENSE CHANGELOG.md "$doc/"
    fi
    find "$doc" -type f -exec chmod 644 {} +
}

build() { # NAME PART FORMAT PROGRAM...
    local name=$1 part=$2 format=$3 zsh=/usr/share/zsh/site-functions
    shift 3
    PACKAGE_TREE=$work/$name-$format
    if [ "$format" = deb ]; then
        zsh=/usr/share/zsh/vendor-completions
    fi
    ZSH_COMPLETIONS=$zsh packaging/install.sh "$part" "$PACKAGE_TREE"
    docs "$name" "$format" "$@"
    find "$PACKAGE_TREE" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    case $format in
        # Debian's control file has no field for the licence, and nfpm would write one.
        deb) sed '/^license:/d' "packaging/nfpm/$name.yaml" ;;
        # Each line of .PKGINFO is a field: its description is the first line.
        apk) awk '/^description:/ { getline; sub(/^ */, "description: "); print; rest = 1; next } rest && /^ / { next } { rest = 0; print }' \
            "packaging/nfpm/$name.yaml" ;;
        *) cat "packaging/nfpm/$name.yaml" ;;
    esac | "$nfpm" package --config - --packager "$format" --target "$dist/"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Whoever builds may have a mask that would keep others out of what is installed.
umask 022
PACKAGE_VERSION=$(package_version)
rm -rf "$dist"
mkdir -p "$dist"
device=(accountlock accountlockd accountlock-gate)
for format in deb rpm apk; do
    build accountlock device "$format" "${device[@]}"
    build accountlock-kiosk kiosk "$format" accountlock-firstboot
    build accountlock-server server "$format" accountlock-server
done
