// SPDX-License-Identifier: Apache-2.0

// Command accountlock is accountlockd, accountlockctl and accountlock-firstboot in
// one file, which one by the name that it is called by. The packages install it,
// since what the three have in common would lie on a device three times.
//
// The gate is not in it: each boot waits for that one, so it stays small.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/daemon"
	"github.com/accountlock/accountlock/internal/firstboot"
)

// version is set by the linker.
var version = "unknown"

func main() { os.Exit(run(filepath.Base(os.Args[0]), os.Args[1:])) }

// run is the program of that name. Each has the signals that its own main has.
func run(name string, args []string) int {
	ctx := context.Background()
	switch name {
	case "accountlockd":
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return daemon.Main(ctx, args, os.LookupEnv, os.Stdout, os.Stderr, version)
	case "accountlockctl":
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		return ctl.Run(ctx, args, ctl.System(version))
	case "accountlock-firstboot":
		signal.Ignore(syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPIPE)
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		return firstboot.Run(ctx, args, firstboot.Env{
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
			Getenv: os.Getenv, Now: time.Now, Version: version,
		})
	default:
		fmt.Fprintf(os.Stderr, "%s: call it as accountlockd, accountlockctl or accountlock-firstboot\n", name)
		return 2
	}
}
