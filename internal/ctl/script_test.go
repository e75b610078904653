// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/accountlock/accountlock/internal/ctl"
)

// TestMain makes this program accountlockctl where a script runs it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"accountlockctl": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			code := ctl.Run(ctx, os.Args[1:], ctl.System("9.9.9"))
			stop()
			os.Exit(code)
		},
	})
}

type sessionKey struct{}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			s := newSession(e.T().(testing.TB))
			e.Values[sessionKey{}] = s
			e.Setenv("DBUS_SYSTEM_BUS_ADDRESS", s.vars["DBUS_SYSTEM_BUS_ADDRESS"])
			e.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// daemon SCENARIO: start the fake daemon as one of scenarios.
			"daemon": func(ts *testscript.TestScript, _ bool, args []string) {
				s, _ := ts.Value(sessionKey{}).(*session)
				scenario, ok := scenarios[strings.Join(args, " ")]
				if !ok {
					ts.Fatalf("no scenario %q", args)
				}
				scenario(s.fake)
				s.fake.own()
			},
			// exits CODE COMMAND...: run and compare the exit code.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				want := args[0]
				got := "0"
				if err != nil {
					got = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if got != want {
					ts.Fatalf("%v: exit %s, want %s\n%s%s", args[1:], got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
				}
			},
			// cancelled: the flow must have been cancelled.
			"cancelled": func(ts *testscript.TestScript, neg bool, _ []string) {
				s, _ := ts.Value(sessionKey{}).(*session)
				if s.fake.flow.wasCancelled() == neg {
					ts.Fatalf("cancelled: %v", !neg)
				}
			},
		},
	})
}
