// SPDX-License-Identifier: Apache-2.0

// Accountlockd is the daemon of accountlock: it answers on D-Bus, asks the
// account service, and keeps the lock record.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/accountlock/accountlock/internal/daemon"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := daemon.Main(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr, version)
	stop()
	os.Exit(code)
}
