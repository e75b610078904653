// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/browser"
	"github.com/accountlock/accountlock/test/bus"
)

// suspect has so many wrong sign-ins come from this address that the next one takes
// a check.
func (r *rig) suspect() {
	r.T.Helper()
	pem, err := os.ReadFile(r.Path("service/ca.pem"))
	if err != nil {
		r.T.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}}
	defer c.CloseIdleConnections()
	for n := range 20 {
		form := url.Values{"identifier": {fmt.Sprintf("nobody%d@example.org", n)}, "password": {"a guess"}}
		q, err := http.NewRequestWithContext(r.T.Context(), http.MethodPost, r.portal()+"/sign-in", strings.NewReader(form.Encode()))
		if err != nil {
			r.T.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set("Origin", r.portal())
		resp, err := c.Do(q)
		if err != nil {
			r.T.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}

func TestAScreenSolvesTheCheckItself(t *testing.T) {
	t.Parallel()
	t.Run("lines", func(t *testing.T) {
		t.Parallel()
		r := locked(t)
		r.suspect()
		tm := r.openTerminal("80x24", []string{"TERM=vt220"}, "--plain")
		tm.choose("Type the password of the account", true)
		tm.await("Account ID, e-mail or phone number", 1)
		tm.keys("Enter")
		tm.await("Password (Enter", 1)
		tm.types(r.demo.Password)
		tm.keys("Enter")
		// Nobody has to read or click; the password was not looked at yet.
		tm.await("Type the password once more", 1)
		tm.await("Password (Enter", 2)
		tm.never("Answer to the check", "This counted as an attempt.")
		tm.types(r.demo.Password)
		tm.keys("Enter")
		tm.awaitExit(0)
		r.wantState("linked")
	})
	t.Run("touch", func(t *testing.T) {
		t.Parallel()
		r := locked(t)
		r.suspect()
		kiosk, address := r.openKiosk()
		p := phone(t, address,
			[]any{"button", "Type the password"}, []any{"button", "Go on"},
			[]any{"fill", "Password", r.demo.Password}, []any{"button", "Go on"},
			[]any{"see", "Type the password once more"}, []any{"axe"}, []any{"targets"},
			[]any{"fill", "Password", r.demo.Password}, []any{"button", "Go on"},
			[]any{"see", "This device is open"})
		browser.Visit(t, p)
		if code := kiosk.Wait(t); code != 0 {
			t.Errorf("the kiosk ended with %d", code)
		}
		r.wantState("linked")
	})
}

// withStick gives the screens a folder where sticks are mounted, and returns it.
func withStick(r *rig) string {
	r.T.Helper()
	bus.NeedRoot(r.T, "a mount of its own")
	stick := r.Path("media/stick")
	if err := os.MkdirAll(stick, 0o755); err != nil {
		r.T.Fatal(err)
	}
	script := "mount --bind " + r.Path("media") + " /media\nexec \"$@\"\n"
	if err := os.WriteFile(r.Path("mounted.sh"), []byte(script), 0o600); err != nil {
		r.T.Fatal(err)
	}
	r.around = []string{"unshare", "-m", "sh", "-e", r.Path("mounted.sh")}
	return stick
}

var tenDigits = regexp.MustCompile(`\b\d{10}\b`)

// ticket puts a file with the account service's ticket for a challenge on the stick.
func (r *rig) ticket(stick, challenge string) {
	r.T.Helper()
	code, ticket := r.ask("device", "ticket", r.Property("DeviceId").Value().(string), challenge)
	if code != 0 {
		r.T.Fatalf("%d %s", code, ticket)
	}
	if err := os.WriteFile(filepath.Join(stick, "notes.txt"), []byte("no ticket at all"), 0o600); err != nil {
		r.T.Fatal(err)
	}
	part := r.Path("ticket.part")
	if err := os.WriteFile(part, []byte(ticket+"\n"), 0o600); err != nil {
		r.T.Fatal(err)
	}
	if err := os.Rename(part, filepath.Join(stick, "ticket.txt")); err != nil {
		r.T.Fatal(err)
	}
}

func TestATicketOnAStickOpensTheDeviceThroughTheScreen(t *testing.T) {
	t.Parallel()
	t.Run("lines", func(t *testing.T) {
		t.Parallel()
		r := locked(t)
		stick := withStick(r)
		tm := r.openTerminal("80x24", []string{"TERM=vt220"}, "--plain")
		tm.choose("Use an offline code, without a network", true)
		tm.await("Code (Enter", 1)
		challenge := tenDigits.FindString(tm.screen())
		tm.keys("Enter")
		tm.choose("Look for a ticket on a USB stick", true)
		tm.await("No ticket was found.", 1)
		r.ticket(stick, challenge)
		tm.await("Code (Enter", 2)
		tm.keys("Enter")
		tm.await("Look for a ticket on a USB stick", 2)
		tm.choose("Look for a ticket on a USB stick", true)
		tm.await("Choose the ticket", 1)
		tm.never("notes.txt")
		tm.choose("ticket.txt", true)
		tm.awaitExit(0)
		r.wantState("linked")
	})
	t.Run("touch", func(t *testing.T) {
		t.Parallel()
		r := locked(t)
		stick := withStick(r)
		kiosk, address := r.openKiosk()
		said := r.Path("said")
		done := make(chan struct{})
		go func() {
			defer close(done)
			p := phone(t, address,
				[]any{"button", "Use an offline code"},
				[]any{"see", "Challenge"}, []any{"keep", said}, []any{"waitfor", filepath.Join(stick, "ticket.txt")},
				[]any{"link", "Look for a ticket on a USB stick"}, []any{"see", "ticket.txt"}, []any{"axe"}, []any{"targets"},
				[]any{"button", "ticket.txt"},
				[]any{"see", "This device is open"})
			browser.Visit(t, p)
		}()
		r.ticket(stick, tenDigits.FindString(awaitFile(t, said)))
		<-done
		if code := kiosk.Wait(t); code != 0 {
			t.Errorf("the kiosk ended with %d", code)
		}
		r.wantState("linked")
	})
}

// awaitFile returns what a browser has written down.
func awaitFile(t *testing.T, path string) string {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if raw, err := os.ReadFile(path); err == nil {
			return string(raw)
		} else if time.Now().After(end) {
			t.Fatalf("the browser does not come to %s", path)
		}
	}
}

func TestAForgottenPasswordIsRecoveredOnTheScreen(t *testing.T) {
	t.Parallel()
	t.Run("lines", func(t *testing.T) {
		t.Parallel()
		r := locked(t, forgetful(4*time.Second))
		tm := r.openTerminal("80x24", []string{"TERM=vt220"}, "--plain")
		tm.choose("Recover a forgotten password or account ID", true)
		tm.await("Recover the account", 1)
		tm.keys("Enter") // the account that the hint names; the check is solved, and the wait goes by
		tm.await("Code (Enter", 1)
		tm.types("000000")
		tm.keys("Enter")
		tm.await("The code is wrong.", 1)
		tm.await("Code (Enter", 2)
		tm.types(r.mailed(codeForm, 0))
		tm.keys("Enter")
		tm.await("Choose a new password", 1)
		tm.await("Password (Enter", 1)
		tm.types(newPassword)
		tm.keys("Enter")
		tm.await("The same password again", 1)
		tm.types(newPassword)
		tm.keys("Enter")
		// Back to where the person was.
		tm.await("Account ID, e-mail or phone number", 2)
		tm.keys("Enter")
		tm.await("Type the password of the account.", 1)
		tm.await("Password (Enter", 2)
		tm.types(newPassword)
		tm.keys("Enter")
		tm.awaitExit(0)
		tm.never(newPassword)
		r.wantState("linked")
	})
	t.Run("touch", func(t *testing.T) {
		t.Parallel()
		r := locked(t, forgetful(4*time.Second))
		kiosk, address := r.openKiosk()
		said, code := r.Path("said"), r.Path("code")
		done := make(chan struct{})
		go func() {
			defer close(done)
			p := phone(t, address,
				[]any{"button", "Recover a forgotten password"},
				[]any{"see", "Recover the account"}, []any{"axe"}, []any{"targets"}, []any{"button", "Go on"},
				[]any{"see", "Type the code that was sent"}, []any{"axe"}, []any{"targets"}, []any{"keep", said},
				[]any{"fillfile", "Code", code}, []any{"button", "Go on"},
				[]any{"see", "Choose a new password"}, []any{"axe"}, []any{"targets"},
				[]any{"fill", "Password", newPassword}, []any{"fill", "The same password again", "another passphrase"}, []any{"button", "Go on"},
				[]any{"see", "The two passwords are not the same."}, []any{"axe"},
				[]any{"fill", "Password", newPassword}, []any{"fill", "The same password again", newPassword}, []any{"button", "Go on"},
				[]any{"see", "Account ID, e-mail or phone number"}, []any{"button", "Go on"},
				[]any{"see", "Type the password of the account."},
				[]any{"fill", "Password", newPassword}, []any{"button", "Go on"},
				[]any{"see", "This device is open"})
			browser.Visit(t, p)
		}()
		awaitFile(t, said)
		if err := os.WriteFile(code+".part", []byte(r.mailed(codeForm, 0)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(code+".part", code); err != nil {
			t.Fatal(err)
		}
		<-done
		if code := kiosk.Wait(t); code != 0 {
			t.Errorf("the kiosk ended with %d", code)
		}
		r.wantState("linked")
	})
}
