// SPDX-License-Identifier: Apache-2.0

package kiosk

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Placeholder stands for the address in a browser's command.
const Placeholder = "{url}"

// Command shows the address in a browser that it starts: the words of a command,
// with the address in place of {url}, or behind them. No shell is involved.
func Command(words []string) func(context.Context, string) error {
	return func(ctx context.Context, address string) error {
		args := make([]string, 0, len(words)+1)
		placed := false
		for _, w := range words {
			placed = placed || strings.Contains(w, Placeholder)
			args = append(args, strings.ReplaceAll(w, Placeholder, address))
		}
		if !placed {
			args = append(args, address)
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the integrator's own command line
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		// A browser is many processes: all of them are asked to end.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		cmd.WaitDelay = 3 * time.Second
		return cmd.Run()
	}
}

// File leaves each address in a file that its owner alone can read, for a browser
// that somebody else starts.
func File(path string) func(context.Context, string) error {
	return func(ctx context.Context, address string) error {
		if err := write(path, address); err != nil {
			fmt.Fprintln(os.Stderr, "accountlock-firstboot:", err)
			return err
		}
		<-ctx.Done()
		_ = os.Remove(path)
		return ctx.Err()
	}
}

func write(path, address string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".address-") // 0600
	if err != nil {
		return fmt.Errorf("cannot leave the address: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(address + "\n")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot leave the address: %w", err)
	}
	return nil
}
