// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
)

// Run runs one command line and returns its exit code.
func Run(ctx context.Context, args []string, env Env) int {
	a := &app{env: env}
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetIn(env.Stdin)
	cmd.SetOut(env.Stdout)
	cmd.SetErr(env.Stderr)
	err := cmd.ExecuteContext(ctx)
	var status exitStatus
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &status):
		return int(status)
	}
	var f *failure
	if !errors.As(err, &f) {
		// Whatever is not a failure of ours is the command line's.
		f = usage("%s.", capital(console.Clean(err.Error())))
		a.json = slices.Contains(flagsOf(args), "--json")
	}
	a.fail(f)
	return ExitCodeOf(f.Name)
}

// app is one run of the program.
type app struct {
	env  Env
	json bool
}

// fail shows a failure: with --json on standard output, like every other
// answer, so that a script parses one stream.
func (a *app) fail(f *failure) {
	if a.json {
		_ = printJSON(a.env.Stdout, map[string]any{"error": f})
		return
	}
	width := newDrawer(a.env, false).width
	fmt.Fprintln(a.env.Stderr, console.Wrap("accountlockctl: "+f.Message+short(f), "", width))
	if f.Remedy != "" {
		fmt.Fprintln(a.env.Stderr, console.Wrap(f.Remedy, indent, width))
	}
	if f.Answered {
		fmt.Fprintln(a.env.Stderr, indent+countedText(f.Counted))
	}
}

// connect opens the bus for one command.
func (a *app) connect(ctx context.Context) (*busclient.Client, error) {
	env := a.env
	if a.json {
		// A script is not asked for anything, by polkit either.
		env.Terminal = nil
	}
	return busclient.Dial(ctx, env.busAddress(), env.Terminal != nil)
}

// printf writes to standard output.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.env.Stdout, format, args...) }

// answer prints v with --json, and otherwise what human prints.
func (a *app) answer(v any, human func()) error {
	if a.json {
		return printJSON(a.env.Stdout, v)
	}
	human()
	return nil
}

// printJSON writes one object, one line: an answer ends where its line does.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return busclient.AsFailure(fmt.Errorf("cannot print the answer: %w", err))
	}
	return nil
}

// flagsOf returns the arguments that may be flags.
func flagsOf(args []string) []string {
	if i := slices.Index(args, "--"); i >= 0 {
		return args[:i]
	}
	return args
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
