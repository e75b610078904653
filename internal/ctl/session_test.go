// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/test/bus"
)

var update = flag.Bool("update", false, "write the golden files again")

// The secrets of the tests. None of them may ever be printed.
const (
	password      = "correct-horse-battery"
	wrongPassword = "incorrect-horse-battery"
	smsCode       = "314159"
)

// session is one command line, and what its person sees.
type session struct {
	t    testing.TB
	fake *fakeDaemon
	env  ctl.Env

	screen, stdout bytes.Buffer
	vars           map[string]string
}

// newSession starts a bus with a fake daemon that does not own its name yet.
func newSession(t testing.TB) *session {
	b := bus.Start(t)
	s := &session{t: t, fake: newFake(t, b), vars: map[string]string{"DBUS_SYSTEM_BUS_ADDRESS": b.Address()}}
	s.env = ctl.Env{
		Stdin:  strings.NewReader(""),
		Stdout: io.MultiWriter(&s.stdout, &s.screen),
		Stderr: &s.screen,
		Getenv: func(name string) string { return s.vars[name] },
		Now:    func() time.Time { return time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC) },
	}
	return s
}

// run runs one command line and returns its exit code.
func (s *session) run(args ...string) int {
	s.t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	code := ctl.Run(ctx, args, s.env)
	for _, word := range []string{password, wrongPassword} {
		if strings.Contains(s.screen.String(), word) {
			s.t.Errorf("a secret was printed:\n%s", s.screen.String())
		}
	}
	// A code is seen while it is typed, and nowhere else.
	if strings.Contains(s.stdout.String(), smsCode) {
		s.t.Errorf("a code was printed:\n%s", s.stdout.String())
	}
	return code
}

// types puts a person at the terminal who types these lines.
func (s *session) types(lines ...string) *typist {
	p := &typist{screen: &s.screen, lines: lines}
	s.env.Terminal = p
	return p
}

// file writes a file for --password-file and --code-file.
func (s *session) file(content string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// golden compares what was seen with a file.
func (s *session) golden(name string) {
	s.t.Helper()
	path := filepath.Join("testdata", name+".golden")
	got := strings.ReplaceAll(s.screen.String(), "\x1b", "␛")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if got != string(want) {
		s.t.Errorf("%s is another (run with -update and look at the difference):\n%s", path, got)
	}
}

// typist is a person at a terminal.
type typist struct {
	screen *bytes.Buffer
	lines  []string
	typed  []secret.Bytes
	caps   bool
	// at runs before the line with that number is typed.
	at map[int]func()
}

func (p *typist) ReadLine(ctx context.Context, prompt string) (secret.Bytes, error) {
	line, err := p.next(ctx, prompt)
	p.screen.Write(append(append([]byte{}, line...), '\n'))
	return line, err
}

func (p *typist) ReadSecret(ctx context.Context, prompt string) (secret.Bytes, error) {
	line, err := p.next(ctx, prompt)
	p.screen.WriteByte('\n')
	return line, err
}

func (p *typist) next(ctx context.Context, prompt string) (secret.Bytes, error) {
	p.screen.WriteString(prompt)
	if f := p.at[len(p.typed)]; f != nil {
		f()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if len(p.typed) == len(p.lines) {
		return nil, io.EOF
	}
	line := secret.Bytes(p.lines[len(p.typed)])
	p.typed = append(p.typed, line)
	return line, nil
}

func (p *typist) CapsLock() bool { return p.caps }
func (*typist) Width() int       { return 80 }
