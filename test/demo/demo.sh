#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Walks the whole story of a device and its owner's account on a private bus,
# with a real account service over TLS and the real daemon; says what happens,
# shows what the owner sees, and checks every step.
#
#   test/demo/demo.sh           walk the story; exits non-zero if a step fails
#   test/demo/demo.sh --play    the same set-up, left running with a shell in it
#
# The programs are those in $ACCOUNTLOCK_BIN, or bin/ of the repository.
# Nothing outside of a folder under $TMPDIR is touched.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BIN=$(cd "${ACCOUNTLOCK_BIN:-$HERE/../../bin}" && pwd)
DIR=$(mktemp -d "${TMPDIR:-/tmp}/accountlock-demo-XXXXXX")
# shellcheck source=test/demo/setup.sh
source "$HERE/setup.sh"

finish() {
    local code=$?
    trap - EXIT
    stop_all
    rm -rf "$DIR"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

checked=0

# step TITLE TEXT: say what comes.
step() {
    printf '\n%s\n' "== $1"
    fold -s -w 78 <<<"$2" | sed 's/^/   /; s/ *$//'
}

fail() {
    printf '\n   FAILED: %s\n' "$*" >&2
    tail -n 20 "$DIR"/daemon.log "$DIR"/service.log >&2 || true
    exit 1
}

ok() {
    checked=$((checked + 1))
    printf '   ok: %s\n' "$*"
}

# run EXIT COMMAND...: show a command and what it prints, and check its exit code.
run() {
    local want=$1 got=0
    shift
    printf '\n   $ %s\n' "$*" | sed "s|$DIR/||g"
    "$@" </dev/null >"$DIR/out" 2>&1 || got=$?
    sed '/^$/d; s/^/   | /' "$DIR/out"
    [ "$got" -eq "$want" ] || fail "exit code $got, not $want"
    ok "exit code $got"
}

# says TEXT: what was shown last must hold it.
says() {
    grep -qF -- "$1" <(tr '\n' ' ' <"$DIR/out" | tr -s ' ') || fail "it does not say \"$1\""
    ok "it says \"$1\""
}

# never TEXT: what was shown last must not hold it.
never() {
    ! grep -qiF -- "$1" "$DIR/out" || fail "it says \"$1\""
    ok "it does not say \"$1\""
}

# state STATE [REASON]: the daemon must be in that state.
state() {
    local now reason
    accountlockctl status --json >"$DIR/status"
    now=$(field state 1 "$DIR/status")
    reason=$(field lock_reason 1 "$DIR/status")
    [ "$now $reason" = "$1 ${2:-}" ] || fail "the state is '$now' '$reason', not '$1' '${2:-}'"
    ok "the state is $now${reason:+, because of $reason}"
}

play() {
    cat >"$DIR/playrc" <<END
[ ! -f ~/.bashrc ] || . ~/.bashrc
DIR='$DIR' BIN='$BIN'
. '$HERE/setup.sh'
cd '$DIR'
PS1='accountlock> '
END
    cat <<END

The bus, the account service and the daemon are running, in $DIR.
Try, for instance:

    accountlockctl link --identifier \$(cat account-id)
    cat password                 the demo account's; other-password is another's
    reset_device                 wipe what a factory reset wipes
    accountlockctl status
    accountlockctl unlock
    stop_service; start_service
    accountlock-server device show DEVICE-ID --data service

Leaving the shell ends all of it.

END
    bash --rcfile "$DIR/playrc" -i || true
}

if [ "${1:-}" = --play ]; then
    start_all
    play
    exit 0
fi
[ $# -eq 0 ] || { echo 'usage: demo.sh [--play]' >&2; exit 2; }

step 'A new device' \
    'A private bus, an account service with two demo accounts, and the daemon of a device that belongs to nobody.'
start_all
run 0 accountlockctl status
state unlinked

step 'Its owner links it' \
    'The owner signs in. The device says what the lock will do, shows the recovery code once, and arms the lock.'
run 0 accountlockctl link --identifier "$(cat "$DIR/account-id")" --password-file "$DIR/password" --yes
says 'Recovery code: '
state linked
device=$(field device_id 1 "$DIR/status")
run 0 accountlockctl check

step 'It is reset' \
    'Somebody wipes the device. The state directory is gone; the record store outlives it. The device starts again, and asks for the account. It says which one, but not enough to sign in with.'
reset_device
run 0 accountlockctl status
says '•••'
state locked factory-reset
run 10 accountlockctl check

step 'A wrong password' \
    'The account service says that it is wrong, and how many tries are left; nobody has to guess what went wrong.'
run 3 accountlockctl unlock --password-file "$DIR/wrong-password"
says '(InvalidCredentials)'
says 'more tries'
says 'This counted as an attempt.'
state locked factory-reset

step 'Another account' \
    'The account and its password are right, but the device is somebody else'\''s: the device says so.'
run 3 accountlockctl unlock --identifier "$(cat "$DIR/other-account-id")" --password-file "$DIR/other-password"
says '(WrongAccount)'
never 'password is wrong'
state locked factory-reset

step 'The account service is down' \
    'The right password cannot be checked. The device says that, and does not blame the password.'
stop_service
run 5 accountlockctl unlock --password-file "$DIR/password"
says '(ServiceUnavailable)'
never 'password is wrong'
says 'This did not count as an attempt.'
state locked factory-reset
start_service

step 'The owner' \
    'The right account with the right password opens the device.'
run 0 accountlockctl unlock --password-file "$DIR/password"
state linked
run 0 accountlockctl check

step 'Signed out' \
    'The owner takes the account off the device. A reset now asks for nothing.'
run 0 accountlockctl sign-out --password-file "$DIR/password"
state signed-out
reset_device
run 0 accountlockctl status
state signed-out
run 0 accountlockctl check

step 'Linked again' \
    'Signing in again is quick.'
run 0 accountlockctl link --identifier "$(cat "$DIR/account-id")" --password-file "$DIR/password" --yes
state linked

step 'Lost' \
    'The owner marks the device lost at the account service. At its next check-in it locks, and shows the owner'\''s message.'
run 0 accountlock-server device lost "$device" --data "$DIR/service" \
    --message 'Please bring me back.' --contact '+49 30 901820'
run 0 accountlockctl check-in
state locked lost
run 0 accountlockctl status
says 'Please bring me back.'
says '+49 30 901820'

step 'Found' \
    'The owner has it again. Found ends the message, not the lock: the account opens the device.'
run 0 accountlock-server device found "$device" --data "$DIR/service"
run 0 accountlockctl check-in
state locked lost
run 0 accountlockctl status
never 'Please bring me back.'
run 0 accountlockctl unlock --password-file "$DIR/password"
state linked

step 'Unlinked' \
    'The owner gives the device away: the ownership ends on both sides, with a signed receipt.'
run 0 accountlockctl unlink --password-file "$DIR/password" --yes
state unlinked

step 'Free' \
    'Whoever has it now may reset it and use it.'
reset_device
run 0 accountlockctl status
state unlinked
run 0 accountlockctl check
run 0 accountlock-server device show "$device" --data "$DIR/service"
says 'unlinked'
run 6 accountlockctl unlock --password-file "$DIR/password"
says '(NotLocked)'

step 'No secret was written down' \
    'What the programs have printed and logged does not hold the passwords.'
for secret in password other-password wrong-password; do
    ! grep -rqF -f "$DIR/$secret" "$DIR"/*.log "$DIR/state" "$DIR/persist" || fail "a log holds $secret"
done
ok 'no password in any log, state or record'

printf '\n%d checks passed: the story holds.\n' "$checked"
