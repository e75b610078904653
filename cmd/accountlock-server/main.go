// SPDX-License-Identifier: Apache-2.0

// Command accountlock-server is the reference account service: it serves the
// account API (docs/account-api.yaml) and has the console commands of who runs
// it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/accountlock/accountlock/internal/service/cli"
)

func main() { os.Exit(run()) }

func run() int {
	// A second signal, while requests are finished, ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return cli.Run(ctx, os.Args[1:], cli.Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
}
