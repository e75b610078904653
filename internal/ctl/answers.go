// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/proofofwork"
	"github.com/accountlock/accountlock/internal/secret"
)

// answers are what the command line says beforehand. No secret is among them:
// only where to read one.
type answers struct {
	identifier   string
	passwordFile string
	codeFile     string
	yes          bool

	stdin     io.Reader
	stdinUsed bool
	// solved is how many captchas were solved.
	solved int
}

// answer is what goes to the daemon for one step.
type answer struct {
	values  map[string]dbus.Variant
	secrets []secret.Bytes
	// typed: a person typed something of it, and may correct it.
	typed bool
	// solved: it answers a captcha that was solved here.
	solved bool
}

func (a *answer) text(name string, v string) { a.values[name] = dbus.MakeVariant(v) }

func (a *answer) secret(name string, v secret.Bytes) {
	a.values[name] = dbus.MakeVariant(v.Reveal())
	a.secrets = append(a.secrets, v)
}

func (a *answer) wipe() {
	for _, s := range a.secrets {
		s.Wipe()
	}
}

// collect gathers an answer to every field of the step: from the command line,
// otherwise from the person, where there is one.
func (a *answers) collect(ctx context.Context, s busclient.Snapshot, p *person) (*answer, error) {
	out := &answer{values: map[string]dbus.Variant{}}
	for _, f := range s.Fields {
		given, err := a.given(f, s, p == nil, out)
		if err == nil && !given {
			given, err = a.solve(ctx, f, s, out)
		}
		if err == nil && !given {
			err = a.asked(ctx, f, s, p, out)
		}
		if err != nil {
			out.wipe()
			return nil, err
		}
	}
	return out, nil
}

// maxSolved bounds the captchas of one command: a service that is content with no
// answer is not worked for without end.
const maxSolved = 5

// solve answers a captcha, which asks for work and not for a person.
func (a *answers) solve(ctx context.Context, f busclient.Field, s busclient.Snapshot, out *answer) (bool, error) {
	challenge := s.Text("captcha")
	if f.Name != "captcha" || challenge == "" || a.solved >= maxSolved {
		return false, nil
	}
	a.solved++
	text, err := proofofwork.Solve(ctx, challenge)
	if err != nil {
		return false, ctx.Err() // another sort of check, perhaps: a person may answer it
	}
	out.text(f.Name, text)
	out.solved = true
	return true, nil
}

// given answers a field from the command line, and reports whether it could. In
// a script, which brings the password and has nobody to ask, the command itself
// is the consent: cli.md of the design gives scripts no other way to say yes.
func (a *answers) given(f busclient.Field, s busclient.Snapshot, script bool, out *answer) (bool, error) {
	yes := a.yes || script && a.passwordFile != ""
	switch {
	case f.Name == "identifier" && a.identifier != "":
		out.text(f.Name, a.identifier)
		return true, nil
	case (f.Name == "password" || f.Name == "repeat") && a.passwordFile != "":
		// Both fields of a new password come from one reading.
		if first, ok := out.values["password"]; ok && f.Name == "repeat" {
			out.values[f.Name] = first
			return true, nil
		}
		return true, a.fromFile(f.Name, a.passwordFile, out)
	case f.Name == "code" && a.codeFile != "":
		return true, a.fromFile(f.Name, a.codeFile, out)
	case f.Type == "bool" && f.Name == "confirm" && yes:
		out.values[f.Name] = dbus.MakeVariant(true)
		return true, nil
	case f.Name == "recovery-code" && s.Text("recovery-code") != "" && yes:
		// The prompt shows the code itself; a script says by answering that
		// it has kept it.
		out.secret(f.Name, recoveryAnswer(s))
		return true, nil
	}
	return false, nil
}

func (a *answers) asked(ctx context.Context, f busclient.Field, s busclient.Snapshot, p *person, out *answer) error {
	if p == nil {
		if !f.Required {
			return nil
		}
		return missingAnswer(f)
	}
	if f.Type == "bool" {
		yes, err := p.confirm(ctx, f)
		if err == nil {
			out.values[f.Name] = dbus.MakeVariant(yes)
			out.typed = true
		}
		return err
	}
	line, err := p.text(ctx, s, f)
	if err != nil || line == nil {
		return err
	}
	out.typed = true
	if f.Secret() {
		out.secret(f.Name, line)
		return nil
	}
	out.text(f.Name, string(line))
	return nil
}

// flagFor names what a script would have had to say.
var flagFor = map[string]string{
	"identifier":    "--identifier ID",
	"password":      "--password-file FILE",
	"repeat":        "--password-file FILE",
	"code":          "--code-file FILE",
	"confirm":       "--yes",
	"recovery-code": "--yes",
}

func missingAnswer(f busclient.Field) error {
	remedy := "Run the command on a terminal."
	if flag, ok := flagFor[f.Name]; ok {
		remedy = "Add " + flag + ", or run the command on a terminal."
	}
	return busclient.Failed(fault.InvalidArgument, "This step asks for '"+console.Clean(f.Name)+"', and nobody is there to be asked.", remedy)
}

// recoveryAnswer picks the groups asked for out of the code that the prompt
// shows; the whole code where it asks for none, or for one that is not there.
func recoveryAnswer(s busclient.Snapshot) secret.Bytes {
	code := s.Text("recovery-code")
	groups := strings.Split(code, "-")
	asked, _ := s.Prompt["recovery-groups"].Value().([]uint32)
	var picked []string
	for _, g := range asked {
		if g < 1 || int(g) > len(groups) {
			return secret.Bytes(code)
		}
		picked = append(picked, groups[g-1])
	}
	if len(picked) == 0 {
		return secret.Bytes(code)
	}
	return secret.Bytes(strings.Join(picked, "-"))
}

// maxSecretFile bounds what is read as a secret; the daemon takes 1024 bytes.
const maxSecretFile = 4096

// fromFile reads a secret from a file, or from standard input for '-'. One
// line end at its end is not part of it.
func (a *answers) fromFile(name, path string, out *answer) error {
	var r io.Reader
	if path == "-" {
		if a.stdinUsed {
			return usage("Standard input was read already; this step asks for '%s' again.", name)
		}
		a.stdinUsed = true
		r = a.stdin
	} else {
		file, err := os.Open(path)
		if err != nil {
			return usage("%s cannot be read: %s.", path, reason(err))
		}
		defer func() { _ = file.Close() }()
		r = file
	}
	s, err := readSecret(r)
	if err != nil {
		return usage("%s cannot be read: %s.", path, reason(err))
	}
	out.secret(name, s)
	return nil
}

var (
	errEmpty = errors.New("it is empty")
	errLong  = errors.New("it is too long to be a password or a code")
)

// readSecret reads into one buffer, so that what is wiped is all there was.
func readSecret(r io.Reader) (secret.Bytes, error) {
	buf := make(secret.Bytes, maxSecretFile+1)
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			buf.Wipe()
			return nil, err
		}
	}
	s := buf[:n]
	s = console.TrimEnd(s)
	switch {
	case n > maxSecretFile:
		buf.Wipe()
		return nil, errLong
	case len(s) == 0:
		return nil, errEmpty
	}
	return s, nil
}

// reason is an error's last words, without the path that stands before them.
func reason(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
