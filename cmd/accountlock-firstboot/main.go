// SPDX-License-Identifier: Apache-2.0

// accountlock-firstboot is the one screen that a locked device shows. All of it
// is in internal/firstboot.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/accountlock/accountlock/internal/firstboot"
)

// version is set by the build.
var version = "devel"

func main() {
	// Nothing that a keyboard sends ends it; whoever can send other signals
	// could stop its unit as well.
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	code := firstboot.Run(ctx, os.Args[1:], firstboot.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Now: time.Now, Version: version,
	})
	if ctx.Err() != nil && code != firstboot.ExitOpen {
		// Ended from outside: by the signal, as the service manager expects it.
		signal.Reset(syscall.SIGTERM)
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}
	stop()
	os.Exit(code)
}
