// SPDX-License-Identifier: Apache-2.0

package firstboot

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Main is the process: its signals, and its end. It returns the exit code, save
// where a signal ended it: then it ends of that, as a service manager expects.
func Main(args []string, version string, kiosk func(context.Context, KioskOptions) error) int {
	// Nothing that a keyboard sends ends it; whoever can send other signals
	// could stop its unit as well.
	signal.Ignore(syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	code := Run(ctx, args, Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Now: time.Now, Version: version, Kiosk: kiosk,
	})
	if ctx.Err() != nil && code != ExitOpen {
		signal.Reset(syscall.SIGTERM)
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}
	return code
}
