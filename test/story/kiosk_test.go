// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/browser"
	"github.com/accountlock/accountlock/test/bus"
)

// openKiosk starts the screen for a browser that the test starts, and returns
// its address.
func (r *rig) openKiosk(args ...string) (*bus.Process, string) {
	r.T.Helper()
	browser.Need(r.T)
	file := r.Path("kiosk-address")
	_ = os.Remove(file)
	args = append([]string{"--kiosk", "--url-file", file, "--language", "en"}, args...)
	command := append(append([]string{}, r.around...), filepath.Join(r.Bin, "accountlock-firstboot"))
	command = append(command, args...)
	p := r.Bus.StartProcess(r.T, exec.Command(command[0], command[1:]...))
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if raw, err := os.ReadFile(file); err == nil && len(raw) > 0 {
			return p, strings.TrimSpace(string(raw))
		}
	}
	r.T.Fatal("the kiosk leaves no address")
	return nil, ""
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func phone(t *testing.T, address string, steps ...[]any) browser.Plan {
	t.Helper()
	return browser.Plan{Width: 360, Height: 740, Touch: true, Host: hostOf(t, address), Steps: append([][]any{{"goto", address}}, steps...)}
}

func TestTheOwnerUnlocksOnAPhonesTouchScreen(t *testing.T) {
	t.Parallel()
	r := locked(t)
	kiosk, address := r.openKiosk()
	browser.Visit(t, phone(t, address,
		[]any{"see", "This device is locked to its owner's account"},
		[]any{"see", r.Property("DeviceId").Value().(string)},
		[]any{"axe"}, []any{"targets"},
		[]any{"link", "What works and what does not"}, []any{"see", "account service"}, []any{"axe"}, []any{"targets"}, []any{"link", "Back"},
		[]any{"link", "Support"}, []any{"see", "Tell them the device ID."}, []any{"axe"}, []any{"link", "Back"},
		[]any{"button", "Type the password"},
		[]any{"see", "Account ID, e-mail or phone number"}, []any{"axe"}, []any{"targets"},
		[]any{"attribute", "Account ID", "inputmode", "email"},
		[]any{"button", "Go on"}, // the account that the hint names
		[]any{"fill", "Password", "certainly wrong"}, []any{"button", "Go on"},
		[]any{"see", "user name or password is wrong"}, []any{"see", "This counted as an attempt."}, []any{"axe"}, []any{"targets"},
		[]any{"attribute", "Password", "type", "password"},
		[]any{"button", "Show what I type"}, []any{"attribute", "Password", "type", "text"},
		[]any{"fill", "Password", r.demo.Password}, []any{"button", "Go on"},
		[]any{"see", "This device is open"}, []any{"axe"},
	))
	if code := kiosk.Wait(t); code != 0 {
		t.Errorf("the kiosk ended with %d", code)
	}
	r.wantState("linked")
	if strings.Contains(string(kiosk.Output()), r.demo.Password) {
		t.Error("the password is in its output")
	}
}

func TestTheKioskWorksWithTheKeyboardAlone(t *testing.T) {
	t.Parallel()
	r := locked(t)
	kiosk, address := r.openKiosk()
	plan := phone(t, address,
		[]any{"see", "This device is locked"},
		[]any{"tab", "Type the password"}, []any{"key", "Enter"},
		[]any{"see", "Account ID, e-mail or phone number"},
		[]any{"focused", "Account ID"}, []any{"type", r.demo.AccountID}, []any{"key", "Enter"},
		[]any{"see", "Type the password of the account."},
		[]any{"focused", "Password"}, []any{"type", r.demo.Password}, []any{"tab", "Go on"}, []any{"key", "Enter"},
		[]any{"see", "This device is open"},
	)
	plan.Width, plan.Height, plan.Touch, plan.Dark = 1280, 800, false, true
	browser.Visit(t, plan)
	if code := kiosk.Wait(t); code != 0 {
		t.Errorf("the kiosk ended with %d", code)
	}
}

func TestTheKioskWorksWithoutJavaScript(t *testing.T) {
	t.Parallel()
	r := locked(t)
	kiosk, address := r.openKiosk()
	plan := phone(t, address,
		[]any{"button", "Type the password"},
		[]any{"button", "Go on"},
		[]any{"fill", "Password", "certainly wrong"}, []any{"button", "Go on"},
		[]any{"see", "This counted as an attempt."},
		[]any{"button", "Back to the beginning"},
		[]any{"link", "Language"}, []any{"button", "Deutsch"},
		[]any{"link", "Language"}, []any{"button", "English"},
		[]any{"button", "Type the password"}, []any{"button", "Go on"},
		[]any{"fill", "Password", r.demo.Password}, []any{"button", "Go on"},
		[]any{"see", "This device is open"},
	)
	off := false
	plan.JavaScript = &off
	browser.Visit(t, plan)
	if code := kiosk.Wait(t); code != 0 {
		t.Errorf("the kiosk ended with %d", code)
	}
}

func TestTheKioskNoticesWhatHappensElsewhereAndComesBack(t *testing.T) {
	t.Parallel()
	r := locked(t)
	kiosk, address := r.openKiosk()
	done := make(chan struct{})
	go func() {
		defer close(done)
		browser.Visit(t, phone(t, address,
			[]any{"see", "This device is locked"}, []any{"shot", r.Path("1.png")},
			[]any{"see", "finding out whether it is locked"}, []any{"axe"}, []any{"shot", r.Path("2.png")},
			[]any{"see", "This device is locked"}, []any{"shot", r.Path("3.png")},
			[]any{"see", "This device is open"}))
	}()
	// A picture is the sign that the browser has come to it.
	await := func(name string) {
		for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(r.Path(name)); err == nil {
				return
			} else if time.Now().After(end) {
				t.Fatalf("the browser does not come to %s", name)
			}
		}
	}
	await("1.png")
	r.StopDaemon()
	await("2.png")
	r.StartDaemon()
	await("3.png")
	r.admin("device", "release", r.Property("DeviceId").Value().(string))
	if err := r.Call("CheckIn").Err; err != nil {
		t.Fatal(err)
	}
	<-done
	if code := kiosk.Wait(t); code != 0 {
		t.Errorf("the kiosk ended with %d", code)
	}
}

func TestTheKioskStartsItsBrowserAgainWithANewAddress(t *testing.T) {
	t.Parallel()
	r := locked(t)
	out := r.Path("addresses")
	p := r.Bus.StartProcess(t, exec.Command(filepath.Join(r.Bin, "accountlock-firstboot"), "--kiosk", "/bin/sh", "-c", "echo $0 >>"+out))
	var lines []string
	for end := time.Now().Add(time.Minute); len(lines) < 2 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		raw, _ := os.ReadFile(out)
		lines = strings.Fields(string(raw))
	}
	if len(lines) < 2 || lines[0] == lines[1] || hostOf(t, lines[0]) != hostOf(t, lines[1]) {
		t.Errorf("addresses: %q", lines)
	}
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t); code == 0 {
		t.Error("a kiosk that was stopped says that the device is open")
	}
}
