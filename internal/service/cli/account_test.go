// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/cli"
	"github.com/accountlock/accountlock/internal/service/store"
)

const password = "correct horse 42 staple"

// console runs commands on one database.
type console struct {
	t      *testing.T
	path   string
	closed int
}

func newConsole(t *testing.T) *console {
	return &console{t: t, path: filepath.Join(t.TempDir(), "db")}
}

func (c *console) open(ctx context.Context) (*account.Service, func() error, error) {
	db, err := store.Open(ctx, store.Config{Path: c.path})
	if err != nil {
		return nil, nil, err
	}
	if err := db.Migrate(ctx); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	s, err := account.New(account.Config{
		DB: db, Secret: secret.Bytes(strings.Repeat("s", 32)), Region: "DE",
		Hash: account.HashParams{MemoryKiB: 64, Passes: 1, Lanes: 1},
	})
	return s, func() error { c.closed++; return db.Close() }, err
}

// run runs a command with stdin and returns what it wrote and its exit code.
func (c *console) run(stdin string, args ...string) (string, int) {
	c.t.Helper()
	return c.runFrom(strings.NewReader(stdin), args...)
}

func (c *console) runFrom(stdin io.Reader, args ...string) (string, int) {
	c.t.Helper()
	cmd := cli.AccountCommand(c.open)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetIn(stdin)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(c.t.Context())
	if f := (*fault.Error)(nil); err != nil && !errors.As(err, &f) {
		c.t.Errorf("%q: %v is no fault", args, err)
	}
	if e := cli.WriteError(&out, err, false); e != nil {
		c.t.Error(e)
	}
	if strings.Contains(out.String(), password) {
		c.t.Errorf("%q shows the password", args)
	}
	return out.String(), cli.Exit(err)
}

// add makes an account and returns its ID.
func (c *console) add(args ...string) string {
	c.t.Helper()
	out, code := c.run(password+"\n", append([]string{"add", "--json", "--password-file", "-"}, args...)...)
	var got struct {
		AccountID string `json:"account_id"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		c.t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	return got.AccountID
}

func TestAccountIsMadeShownBlockedAndDeleted(t *testing.T) {
	c := newConsole(t)
	id := c.add("--email", "Jane@Example.org", "--phone", "01515 5501042", "--second-factor")
	for _, name := range []string{id, "jane@example.org", "+4915155501042"} {
		out, code := c.run("", "show", name)
		for _, want := range []string{id, "Jane@example.org", "+4915155501042", "Second factor  yes", "Blocked        no"} {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("show %s: exit %d, no %q in %s", name, code, want, out)
			}
		}
	}
	if out, code := c.run("", "block", id, "--until", "2199-12-31"); code != 0 || !strings.Contains(out, "until 2199-12-31T00:00:00Z") {
		t.Errorf("block: exit %d, %s", code, out)
	}
	if out, code := c.run("", "unblock", id); code != 0 || !strings.Contains(out, "Blocked        no") {
		t.Errorf("unblock: exit %d, %s", code, out)
	}
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if out, code := c.runFrom(tty, "delete", id); code != cli.ExitUsage || !strings.Contains(out, "--yes") {
		t.Errorf("delete on a terminal without --yes: exit %d, %s", code, out)
	}
	if out, code := c.run("", "delete", id); code != 0 || !strings.Contains(out, "Deleted") || strings.Contains(out, "example.org") {
		t.Errorf("delete: exit %d, %s", code, out)
	}
	if out, code := c.run("", "delete", id, "--yes"); code != cli.ExitRefused {
		t.Errorf("delete again: exit %d, %s", code, out)
	}
}

func TestEachMistakeHasItsExitCode(t *testing.T) {
	c := newConsole(t)
	id := c.add("--email", "jane@example.org")
	dir := t.TempDir()
	file := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for name, tc := range map[string]struct {
		args []string
		exit int
	}{
		"no password file":           {[]string{"add"}, cli.ExitUsage},
		"a password file that isn't": {[]string{"add", "--password-file", filepath.Join(dir, "none")}, cli.ExitUsage},
		"a folder for a password":    {[]string{"add", "--password-file", dir}, cli.ExitUsage},
		"a device for a password":    {[]string{"add", "--password-file", "/dev/zero"}, cli.ExitUsage},
		"an empty password":          {[]string{"add", "--password-file", file("empty", "\n")}, cli.ExitUsage},
		"a huge password file":       {[]string{"add", "--password-file", file("huge", strings.Repeat("x", 5000))}, cli.ExitUsage},
		"a short password":           {[]string{"add", "--password-file", file("short", "7 chars\n")}, cli.ExitRefused},
		"a common password":          {[]string{"add", "--password-file", file("common", "P@ssw0rd2024!\r\n")}, cli.ExitRefused},
		"an address that is none":    {[]string{"add", "--password-file", file("good", password), "--email", "jane"}, cli.ExitUsage},
		"an address that is taken":   {[]string{"add", "--password-file", file("good", password), "--email", "JANE@example.org"}, cli.ExitUsage},
		"a password as an argument":  {[]string{"add", password}, cli.ExitUsage},
		"an unknown flag":            {[]string{"add", "--password", "x"}, cli.ExitUsage},
		"an unknown command":         {[]string{"rename", id}, cli.ExitUsage},
		"no account named":           {[]string{"show"}, cli.ExitUsage},
		"an account that isn't":      {[]string{"show", "99999999"}, cli.ExitUsage},
		"an identifier that is none": {[]string{"show", "?"}, cli.ExitUsage},
		"a time that is none":        {[]string{"block", id, "--until", "tomorrow"}, cli.ExitUsage},
		"a time that has passed":     {[]string{"block", id, "--until", "1999-12-31"}, cli.ExitUsage},
	} {
		t.Run(name, func(t *testing.T) {
			c := &console{t: t, path: c.path}
			if out, code := c.run("", tc.args...); code != tc.exit {
				t.Errorf("exit %d, want %d: %s", code, tc.exit, out)
			}
		})
	}
}

func TestDatabaseIsClosedWhateverHappens(t *testing.T) {
	c := newConsole(t)
	c.add()
	c.run("", "show", "99999999")
	if c.closed != 2 {
		t.Fatalf("closed %d times, want 2", c.closed)
	}
}

func TestDatabaseThatCannotBeOpenedFails(t *testing.T) {
	c := newConsole(t)
	c.path = filepath.Join(c.path, "no", "such", "folder")
	if out, code := c.run("", "show", "99999999"); code != cli.ExitFailed || !strings.Contains(out, "cannot open the database") {
		t.Fatalf("exit %d, %s", code, out)
	}
}

func TestEveryFaultHasAnExitCodeOfTheContract(t *testing.T) {
	for _, code := range fault.Codes() {
		if n := cli.Exit(fault.New(code, nil)); n < 1 || n > 9 {
			t.Errorf("%s exits with %d", code, n)
		}
	}
	if cli.Exit(nil) != 0 || cli.Exit(errors.New("boom")) != 1 {
		t.Error("nil or a foreign error has the wrong exit code")
	}
	for code, want := range map[fault.Code]int{fault.WrongAccount: 3, fault.NotAuthorized: 4, fault.CaptivePortal: 5, fault.NotLinked: 6, fault.RateLimited: 7, fault.ServiceUntrusted: 8, fault.StorageFailed: 9, fault.InvalidArgument: 2} {
		if got := cli.Exit(fault.New(code, nil)); got != want {
			t.Errorf("%s exits with %d, want %d", code, got, want)
		}
	}
}

func TestErrorInJSONHasTheFieldsOfTheContract(t *testing.T) {
	var out bytes.Buffer
	if err := cli.WriteError(&out, fault.New(fault.RateLimited, nil), true); err != nil {
		t.Fatal(err)
	}
	var got map[string]map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got["error"]) != 4 || got["error"]["name"] != "RateLimited" {
		t.Fatalf("%s (%v)", out.String(), err)
	}
}
