#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Puts what was built into a tree, as the packages hold it.
#
#   packaging/install.sh device|kiosk|server DESTDIR
#
# `make install` calls it; distribution packagers may too. Programs come from
# bin/ (`make build`). Everything lies under /usr: /etc and /var are the
# administrator's and the program's. ZSH_COMPLETIONS is where this distribution's
# zsh looks.
set -euo pipefail

cd "$(dirname "$0")/.."
part=${1:?device, kiosk or server}
dest=${2:?DESTDIR}
zsh=${ZSH_COMPLETIONS:-/usr/share/zsh/site-functions}

put() { # MODE FILE TARGET
    install -D -m "$1" "$2" "$dest$3"
}

link() { # WHERE-TO TARGET
    install -d "$(dirname "$dest$2")"
    ln -sf "$1" "$dest$2"
}

page() { # compressed without a name and a time, so that a build can be repeated
    local target
    target=$dest/usr/share/man/man${1##*.}/$(basename "$1").gz
    install -d "$(dirname "$target")"
    gzip -9 -n -c "$1" >"$target"
    chmod 644 "$target"
}

units() { # what stands in systemd/, in its place
    local file
    while read -r file; do
        case $file in
            system/* | system-preset/*) put 644 "systemd/$file" "/usr/lib/systemd/$file" ;;
            *) put 644 "systemd/$file" "/usr/lib/$file" ;;
        esac
    done < <(cd systemd && find . -mindepth 2 -type f -printf '%P\n')
}

device() {
    local file
    # Two programs in one file (cmd/accountlock), for the size.
    put 755 bin/accountlock /usr/libexec/accountlock/accountlock
    link ../libexec/accountlock/accountlock /usr/bin/accountlockctl
    link ../libexec/accountlock/accountlock /usr/bin/accountlock-firstboot
    put 755 bin/accountlockd /usr/sbin/accountlockd
    put 755 bin/accountlock-gate /usr/sbin/accountlock-gate
    link ../../../sbin/accountlock-gate /usr/lib/systemd/system-generators/accountlock-gate
    units
    put 755 packaging/package-step /usr/libexec/accountlock/package-step
    put 644 packaging/dbus/org.accountlock.AccountLock1.conf /usr/share/dbus-1/system.d/org.accountlock.AccountLock1.conf
    put 644 packaging/dbus/org.accountlock.AccountLock1.service /usr/share/dbus-1/system-services/org.accountlock.AccountLock1.service
    for file in packaging/dbus/*.xml; do
        put 644 "$file" "/usr/share/dbus-1/interfaces/$(basename "$file")"
    done
    put 644 packaging/polkit/org.accountlock.AccountLock1.policy /usr/share/polkit-1/actions/org.accountlock.AccountLock1.policy
    put 644 packaging/polkit/org.accountlock.AccountLock1.rules /usr/share/polkit-1/rules.d/org.accountlock.AccountLock1.rules
    put 644 packaging/accountlock.catalog /usr/lib/systemd/catalog/accountlock.catalog
    put 644 packaging/completions/bash/accountlockctl /usr/share/bash-completion/completions/accountlockctl
    put 644 packaging/completions/zsh/_accountlockctl "$zsh/_accountlockctl"
    put 644 packaging/completions/fish/accountlockctl.fish /usr/share/fish/vendor_completions.d/accountlockctl.fish
    for file in packaging/man/accountlock{ctl,d,-gate,-firstboot}*.[18]; do
        page "$file"
    done
}

# kiosk: the first-boot screen with the pages for a browser; that of `device` goes on
# as this one.
kiosk() {
    put 755 bin/accountlock-firstboot /usr/libexec/accountlock/accountlock-firstboot
}

server() {
    put 755 bin/accountlock-server /usr/bin/accountlock-server
    put 644 docs/accountlock-server.example.toml /usr/share/doc/accountlock-server/examples/accountlock-server.toml
    page packaging/man/accountlock-server.8
    put 644 packaging/server/accountlock-server.service /usr/lib/systemd/system/accountlock-server.service
    put 644 packaging/server/sysusers.conf /usr/lib/sysusers.d/accountlock-server.conf
    put 644 packaging/server/tmpfiles.conf /usr/lib/tmpfiles.d/accountlock-server.conf
}

"$part"
