# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The demo's set-up: a private bus, a dev account service and a daemon, all in
# one folder. Sourced by demo.sh and by the shell of `demo.sh --play`; DIR is the
# folder and BIN where the programs are.

: "${DIR:?}" "${BIN:?}"

umask 077
export DBUS_SYSTEM_BUS_ADDRESS="unix:path=$DIR/bus"
export PATH="$BIN:$PATH"
# Whoever runs this may have a language that the texts are not in.
export LC_ALL=C.UTF-8

# start NAME COMMAND...: run in the background, with its output in NAME.log.
start() {
    local name=$1
    shift
    # The shell of --play would tell of its job.
    { "$@" </dev/null >>"$DIR/$name.log" 2>&1 & } 2>/dev/null
    echo $! >"$DIR/$name.pid"
}

# stop NAME: end it and wait until it has ended.
stop() {
    local pid
    pid=$(cat "$DIR/$1.pid" 2>/dev/null) || return 0
    rm -f "$DIR/$1.pid"
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 1200); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -KILL "$pid" 2>/dev/null || true
}

# await TEXT COMMAND...: try the command until it succeeds, for a minute.
await() {
    local what=$1
    shift
    for _ in $(seq 1200); do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.05
    done
    echo "demo: $what; see $DIR/*.log" >&2
    tail -n 5 "$DIR"/*.log >&2 || true
    return 1
}

start_bus() {
    cat >"$DIR/bus.conf" <<END
<busconfig>
  <type>custom</type>
  <listen>$DBUS_SYSTEM_BUS_ADDRESS</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
END
    start bus dbus-daemon --config-file="$DIR/bus.conf" --nofork --nopidfile --nosyslog
    await 'the bus does not come up' test -S "$DIR/bus"
}

# start_service: the account service, on the port that it had before.
start_service() {
    local before=0
    if [ -f "$DIR/service.log" ]; then
        before=$(grep -c '^ready$' "$DIR/service.log" || true)
    fi
    start service accountlock-server dev --data "$DIR/service" \
        --listen "$(cat "$DIR/service.address" 2>/dev/null || echo 127.0.0.1:0)"
    await 'the account service does not come up' ready_more_often "$before"
    sed -n 's|^https://\([^/]*\)/$|\1|p' "$DIR/service.log" | tail -n 1 >"$DIR/service.address"
}

ready_more_often() { [ "$(grep -c '^ready$' "$DIR/service.log")" -gt "$1" ]; }

stop_service() { stop service; }

# The device: what a reset wipes is in state/, what it leaves alone in persist/.
configure_daemon() {
    mkdir -p "$DIR/persist" "$DIR/state" "$DIR/run"
    echo 'demo-device' >"$DIR/identity"
    {
        cat "$DIR/service/device.toml"
        cat <<END

[record]
store = "file:$DIR/persist/record"
[state]
directory = "$DIR/state"
[runtime]
directory = "$DIR/run"
[device]
identity = ["file:$DIR/identity"]
[authorization]
mode = "uid"
uids = [$(id -u)]
[gate]
mode = "none"
[tpm]
mode = "off"
[daemon]
idle_exit = "0s"
END
    } >"$DIR/accountlockd.toml"
}

start_daemon() {
    start daemon accountlockd --config "$DIR/accountlockd.toml"
    await 'the daemon does not come up' accountlockctl status
}

stop_daemon() { stop daemon; }

# reset_device: what a factory reset does. The record store outlives it.
reset_device() {
    stop_daemon
    rm -rf "$DIR/state"
    mkdir "$DIR/state"
    start_daemon
}

# secrets: the passwords of the demo accounts, each in a file.
secrets() {
    local demo="$DIR/service/demo.json"
    field password 1 "$demo" >"$DIR/password"
    field password 2 "$demo" >"$DIR/other-password"
    echo 'not-the-password' >"$DIR/wrong-password"
    field account_id 1 "$demo" >"$DIR/account-id"
    field account_id 2 "$demo" >"$DIR/other-account-id"
}

# field NAME N FILE: the Nth string of that name in a JSON file.
field() { grep -o "\"$1\": *\"[^\"]*\"" "$3" | sed -n "$2{s/^[^:]*: *\"//;s/\"\$//;p}"; }

start_all() {
    start_bus
    start_service
    secrets
    configure_daemon
    start_daemon
    # On a busy machine the account service's answer may come too late for the daemon's start.
    accountlockctl check-in >/dev/null 2>&1 || true
}

stop_all() {
    stop daemon
    stop service
    stop bus
}
