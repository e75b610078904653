#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Sees to what the Makefile's targets need from the system.
#
#   test/deps.sh GROUP...    groups: build lint test demo packages boot
#
# As root it installs what is missing from Debian; otherwise it says what is
# missing and exits 1. Quick, and silent, when everything is there.
set -euo pipefail

# One line for each thing: the groups that need it, a file or a program whose
# presence proves it, and the Debian package that brings it.
needs='
build,lint,test,demo  git                              git
build,lint,test,demo  make                             make
lint                  shellcheck                       shellcheck
test                  /usr/lib/postgresql/*/bin/postgres  postgresql
test                  gcc                              gcc
scale                 sqlite3                          sqlite3
test,boot             swtpm                            swtpm
test                  /usr/include/stdio.h             libc6-dev
test,demo             dbus-daemon                      dbus-daemon
test,demo             dbus-send                        dbus-bin
test,demo             mount                            mount
test,demo             /usr/lib/polkit-1/polkitd        polkitd
test                  /usr/libexec/accounts-daemon     accountsservice
test                  systemd-analyze                  systemd
test,boot             ip                               iproute2
test                  nsenter                          util-linux
packages,boot         lintian                          lintian
boot                  systemd-nspawn                   systemd-container
boot                  mmdebstrap                       mmdebstrap
boot                  rpm                              rpm
boot                  qemu-system-x86_64               qemu-system-x86
boot                  depmod                           kmod
boot                  mke2fs                           e2fsprogs
boot                  sfdisk                           fdisk
test                  /usr/lib/python3/dist-packages/aiosmtpd  python3-aiosmtpd
test                  /usr/lib/python3/dist-packages/dbusmock  python3-dbusmock
test                  tmux                             tmux
test                  /usr/bin/chromium                chromium
test                  node                             nodejs
test                  npm                              npm
test                  Xvfb                             xvfb
test                  /usr/lib/python3/dist-packages/gi  python3-gi
test                  /usr/share/doc/gir1.2-gtk-4.0    gir1.2-gtk-4.0
test                  import                           imagemagick
test                  zbarimg                          zbar-tools
'

die() {
    printf 'deps: %s\n' "$*" >&2
    exit 1
}

there() {
    case $1 in
        /*) compgen -G "$1" >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# missing GROUP...: "PROOF PACKAGE" for each thing that is not there.
missing() {
    local groups proof package group
    while read -r groups proof package; do
        [ -n "$groups" ] || continue
        for group in "$@"; do
            if [[ ,$groups, == *,$group,* ]] && ! there "$proof"; then
                printf '%s %s\n' "$proof" "$package"
                break
            fi
        done
    done <<<"$needs"
}

install() {
    # On a machine that has just come up somebody else may be installing, too.
    local get=(apt-get -q -o DPkg::Lock::Timeout=300)
    local apt=("${get[@]}" install -y --no-install-recommends "$@")
    export DEBIAN_FRONTEND=noninteractive
    # The package lists may be absent, or too old to name what the mirror holds.
    "${apt[@]}" || { "${get[@]}" update && "${apt[@]}"; }
}

# node_modules: what tests need from npm, as package-lock.json pins it. Nothing of it is run
# at its installation.
node_modules() {
    local dir
    dir=$(dirname "$0")
    if [ "$dir/package-lock.json" -nt "$dir/node_modules/.package-lock.json" ]; then
        npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --silent
        touch "$dir/node_modules/.package-lock.json"
    fi
}

go_is_there() {
    local want have
    want=$(sed -n 's/^go //p' "$(dirname "$0")/../go.mod")
    command -v go >/dev/null ||
        die "missing: go $want or later (https://go.dev/dl/; Debian's own may be older)"
    have=$(go env GOVERSION)
    have=${have#go}
    [ "$(printf '%s\n' "$want" "$have" | sort -V | head -n 1)" = "$want" ] ||
        die "go is $have, and $want or later is needed (https://go.dev/dl/)"
}

main() {
    [ $# -gt 0 ] || die "usage: test/deps.sh GROUP..."
    local group list packages
    for group in "$@"; do
        grep -Eq "(^|,)$group(,| )" <<<"$needs" || die "no such group: $group"
    done
    go_is_there
    list=$(missing "$@")
    if [ -z "$list" ]; then
        [[ " $* " != *' test '* ]] || node_modules
        return 0
    fi
    packages=$(cut -d ' ' -f 2 <<<"$list" | sort -u | tr '\n' ' ')
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        cut -d ' ' -f 1 <<<"$list" | sed 's/^/deps: missing: /' >&2
        die "on Debian: apt-get install $packages"
    fi
    printf 'deps: installing %s\n' "$packages"
    # shellcheck disable=SC2086 # a list of words
    install $packages
    list=$(missing "$@")
    [ -z "$list" ] || die "still missing after the installation: $(cut -d ' ' -f 1 <<<"$list" | tr '\n' ' ')"
    [[ " $* " != *' test '* ]] || node_modules
}

main "$@"
