// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// spy stands for a test, to see what the harness makes of it: it fails without
// failing the real one.
type spy struct {
	testing.TB
	cleanups []func()
	failures []string
}

// watch runs the function as a test of its own, with its cleanups, and returns
// what failed.
func watch(t *testing.T, test func(t testing.TB)) string {
	t.Helper()
	s := &spy{TB: t}
	s.run(func() { test(s) })
	for len(s.cleanups) > 0 {
		last := s.cleanups[len(s.cleanups)-1]
		s.cleanups = s.cleanups[:len(s.cleanups)-1]
		s.run(last)
	}
	return strings.Join(s.failures, "\n")
}

func (s *spy) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func (s *spy) Helper()          {}
func (s *spy) Failed() bool     { return len(s.failures) > 0 }
func (s *spy) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }
func (s *spy) Logf(string, ...any) {
	// What a failed test prints is not this test's matter.
}

func (s *spy) Errorf(format string, args ...any) {
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

func (s *spy) Fatal(args ...any) {
	s.failures = append(s.failures, fmt.Sprint(args...))
	runtime.Goexit()
}

func (s *spy) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}
