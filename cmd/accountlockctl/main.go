// SPDX-License-Identifier: Apache-2.0

// accountlockctl shows and changes how this device is bound to its owner's
// account. All of it is in internal/ctl.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/accountlock/accountlock/internal/ctl"
)

// version is set by the build.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := ctl.Run(ctx, os.Args[1:], ctl.System(version))
	stop()
	os.Exit(code)
}
