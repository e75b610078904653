// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// Exit codes of accountlockd.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main is accountlockd: it parses, wires, runs and returns the exit code.
// getenv gives the environment, of which systemd's contract and the bus's
// address alone are read.
func Main(ctx context.Context, args []string, getenv config.Lookup, stdout, stderr io.Writer, version string) int {
	fs := flag.NewFlagSet("accountlockd", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		_, _ = fmt.Fprintf(stderr, "Usage: accountlockd [--config FILE] [--check-config] [--debug] [--version]\n\n"+
			"The daemon of accountlock. It is started by D-Bus or at boot; see accountlockd(8).\n\n")
		fs.PrintDefaults()
	}
	file := fs.String("config", "", "read `FILE` in place of /usr/lib/accountlock and /etc/accountlock")
	check := fs.Bool("check-config", false, "check the configuration and leave")
	debug := fs.Bool("debug", false, "log more; never a secret")
	showVersion := fs.Bool("version", false, "print the version and leave")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitDone
		}
		return exitUsage
	}
	if fs.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "accountlockd: it takes no arguments, but got %q\n", fs.Arg(0))
		return exitUsage
	}
	if *showVersion {
		_, _ = fmt.Fprintln(stdout, "accountlockd", version)
		return exitDone
	}
	level := slog.LevelInfo
	if *debug {
		level = slog.LevelDebug
	}
	log := NewLog(stderr, level)
	c, err := load(*file, getenv)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "accountlockd:", plainly(err))
		return exitFailed
	}
	if *check {
		return checkConfig(c, stdout, stderr)
	}
	for _, w := range c.Warnings {
		log.Warn("configuration", "warning", w)
	}
	address, _ := getenv("DBUS_SYSTEM_BUS_ADDRESS")
	err = Run(ctx, Options{Config: c, Version: version, BusAddress: address, Log: log})
	if err != nil {
		log.Error("the daemon ends", "error", err)
		return exitFailed
	}
	return exitDone
}

func load(file string, getenv config.Lookup) (config.Config, error) {
	if file != "" {
		return config.Load(file, getenv)
	}
	return config.LoadLayers("/", getenv)
}

// checkConfig also reads the files that the configuration names.
func checkConfig(c config.Config, stdout, stderr io.Writer) int {
	for _, w := range c.Warnings {
		_, _ = fmt.Fprintln(stderr, "warning:", w)
	}
	if _, err := record.Open(c.Record.Store); err != nil {
		_, _ = fmt.Fprintln(stderr, "accountlockd:", plainly(err))
		return exitFailed
	}
	s, err := newService(c, lock.KeySet{}, nil)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "accountlockd:", plainly(err))
		return exitFailed
	}
	s.Close()
	_, _ = fmt.Fprintln(stdout, "the configuration is valid")
	return exitDone
}

// plainly returns what is wrong in one line for an administrator: the cause where
// there is one, and not the sentence for whoever holds the device.
func plainly(err error) string {
	f := fault.As(err)
	if f.Err != nil {
		return f.Err.Error()
	}
	return f.Message
}
