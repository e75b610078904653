// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/secret"
)

// Env is everything that the commands reach outside of D-Bus.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal asks the person; nil where nobody is there to be asked.
	Terminal Terminal
	// Getenv is read for the bus's address and the person's language alone.
	Getenv func(string) string
	Now    func() time.Time
	// Version is what --version prints.
	Version string
}

// Terminal is a person who can be asked. Its methods return context.Canceled
// once ctx ends and io.EOF once the person has closed the input.
type Terminal interface {
	// ReadLine asks with the echo on.
	ReadLine(ctx context.Context, prompt string) (secret.Bytes, error)
	// ReadSecret asks with the echo off.
	ReadSecret(ctx context.Context, prompt string) (secret.Bytes, error)
	// CapsLock reports whether caps lock is known to be on.
	CapsLock() bool
	// Width in characters.
	Width() int
}

// System returns the process's own environment.
func System(version string) Env {
	e := Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now, Version: version}
	// What is drawn goes to standard error, so that standard output holds the
	// result alone; a person sees both only where both ends are a terminal.
	if t := console.Open(os.Stdin, os.Stderr); t != nil {
		e.Terminal = t
	}
	return e
}

func (e Env) busAddress() string {
	if a := e.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); a != "" {
		return a
	}
	return busclient.SystemBus
}

// locale returns the person's language as BCP 47 writes it, from what POSIX
// lets them set; empty for 'C'.
func (e Env) locale() string {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		v := e.Getenv(name)
		if v == "" {
			continue
		}
		v, _, _ = strings.Cut(v, ".")
		v, _, _ = strings.Cut(v, "@")
		v = strings.ReplaceAll(v, "_", "-")
		if !language.MatchString(v) {
			// 'C', 'POSIX' and 'english' are no languages as BCP 47 names them,
			// and no reason for the daemon to refuse a flow.
			return ""
		}
		return v
	}
	return ""
}

var language = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$`)
