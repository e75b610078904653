// SPDX-License-Identifier: Apache-2.0

// Command accountlock is accountlockctl and accountlock-firstboot in one file, which
// one by the name that it is called by. The packages install it, since what the two
// have in common would lie on a device twice.
//
// The gate and the daemon are not in it: each boot waits for the one, and what a file
// holds is resident in the other, used or not. Nor are the pages for a browser, whose
// web server is as large as the rest: they come with the package accountlock-kiosk.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/firstboot"
)

// version is set by the linker.
var version = "unknown"

// kioskProgram is the first-boot screen with the pages for a browser.
const kioskProgram = "/usr/libexec/accountlock/accountlock-firstboot"

func main() { os.Exit(run(filepath.Base(os.Args[0]), os.Args[1:])) }

// run is the program of that name. Each has the signals that its own main has.
func run(name string, args []string) int {
	switch name {
	case "accountlockctl":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		return ctl.Run(ctx, args, ctl.System(version))
	case "accountlock-firstboot":
		return firstboot.Main(args, version, kiosk)
	default:
		fmt.Fprintf(os.Stderr, "%s: call it as accountlockctl or accountlock-firstboot\n", name)
		return 2
	}
}

// kiosk goes on as the other program.
func kiosk(context.Context, firstboot.KioskOptions) error {
	err := syscall.Exec(kioskProgram, os.Args, os.Environ()) //nolint:gosec // its own arguments
	return fmt.Errorf("the pages for a browser come with the package accountlock-kiosk: cannot run %s: %w", kioskProgram, err)
}
