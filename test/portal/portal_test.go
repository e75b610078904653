// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/test/browser"
)

// world is a service with a linked device.
type world struct {
	*apitest.Service
	device *apitest.Device
}

func newWorld(t *testing.T) world {
	t.Helper()
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	return world{s, d}
}

// visit carries out steps on a screen; no page may ask another host.
func (w world) visit(t *testing.T, p browser.Plan, steps ...[]any) {
	t.Helper()
	u, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	p.Host, p.IgnoreHTTPSErrors, p.Steps = u.Host, true, steps
	browser.Visit(t, p)
}

func do(word string, args ...any) []any { return append([]any{word}, args...) }

func (w world) goTo(path string) []any { return do("goto", w.URL+path) }

var phone = browser.Plan{Width: 390, Height: 844, Touch: true}

// signIn are the steps by which the owner signs in.
func (w world) signIn() [][]any {
	return [][]any{
		w.goTo("/sign-in"), do("fill", "Account ID, e-mail", w.Owner.Email), do("fill", "Your password", w.Owner.Password),
		do("button", "Sign in"), do("see", "These devices belong to your account"),
	}
}

// shot keeps a picture where ACCOUNTLOCK_PICTURES names a folder.
func shot(t *testing.T, name string) []any {
	dir := os.Getenv("ACCOUNTLOCK_PICTURES")
	if dir == "" {
		dir = t.TempDir()
	}
	return do("shot", filepath.Join(dir, name+".png"))
}

func TestEveryPageServesAThumbAndAScreenReader(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		plan browser.Plan
	}{
		{"phone", phone},
		{"narrow-dark", browser.Plan{Width: 320, Height: 640, Touch: true, Dark: true}},
		{"desktop", browser.Plan{Width: 1280, Height: 900}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var steps [][]any
			look := func(path, says string) {
				steps = append(steps, w.goTo(path), do("see", says), do("axe"))
				if c.plan.Touch {
					steps = append(steps, do("targets"))
				}
			}
			look("/", "Here you look after your account")
			look("/sign-in", "The account ID has 8 to 10 digits")
			look("/check?device="+w.device.ID, "is locked to an account")
			look("/help", "You reach support here")
			look("/recover", "The check is done.")
			look("/nothing-here", "There is nothing here")
			steps = append(steps, w.signIn()...)
			steps = append(steps, do("axe"), shot(t, "portal-devices-"+c.name))
			look("/devices/"+w.device.ID, "What happened")
			steps = append(steps, shot(t, "portal-device-"+c.name))
			look("/approve", "A locked device shows a code of eight letters")
			_, code := w.device.AskApproval(t)
			look("/approve?code="+code, "Somebody asks to open this device")
			steps = append(steps, shot(t, "portal-approve-"+c.name))
			look("/approve?code=BCDF-GHJK", "No device of yours asks with this code")
			look("/account", "It never changes")
			steps = append(steps, shot(t, "portal-account-"+c.name))
			look("/account/delete", "This cannot be taken back")
			w.visit(t, c.plan, steps...)
		})
	}
}

func TestTheKeyboardAloneIsEnough(t *testing.T) {
	w := newWorld(t)
	w.visit(t, browser.Plan{Width: 1024, Height: 768},
		w.goTo("/sign-in"),
		do("key", "Tab"), do("focused", "Skip to the content"),
		do("tab", "Account ID, e-mail"), do("type", w.Owner.ID),
		do("tab", "Your password"), do("type", w.Owner.Password), do("key", "Enter"),
		do("see", "These devices belong"),
		do("tab", w.device.ID), do("key", "Enter"), do("see", "What happened"),
		do("tab", "Mark it as lost"), do("key", "Enter"),
		do("tab", "Message to whoever finds it"), do("type", "Please call"),
		do("tab", "How they reach you"), do("type", "+44 20 7946 0001"), do("key", "Enter"),
		do("see", "The device is marked as lost"),
		do("tab", "Sign out"), do("key", "Enter"), do("see", "You are signed out"),
	)
}

func TestEverythingButTheCheckWorksWithoutJavaScript(t *testing.T) {
	w := newWorld(t)
	off := false
	steps := append([][]any{w.goTo("/recover"), do("see", "which needs JavaScript")}, w.signIn()...)
	steps = append(steps,
		do("link", w.device.ID), do("see", "Give it away"),
		w.goTo("/devices/"+w.device.ID),
		do("open", "Unlink this device"), do("tick", "The device need not be mine"),
		do("fillin", "#unlink-password", w.Owner.Password), do("button", "Unlink the device"),
		do("see", "The device no longer belongs to you"),
		w.goTo("/account"), do("button", "Sign out everywhere else"), do("see", "Every other browser was signed out"),
		do("button", "Sign out"), do("see", "You are signed out"))
	w.visit(t, browser.Plan{Width: 390, Height: 844, JavaScript: &off}, steps...)
}

func TestABrowserSolvesTheCheckByItself(t *testing.T) {
	w := newWorld(t)
	for range 12 {
		// From a browser that nobody sees: the guesses count against the account and
		// the address.
		_, _ = w.Accounts.Authenticate(t.Context(), account.Attempt{Identifier: w.Owner.Email, Password: []byte("a guess")})
	}
	w.visit(t, phone,
		w.goTo("/sign-in"), do("fill", "Account ID, e-mail", w.Owner.Email), do("fill", "Your password", w.Owner.Password), do("button", "Sign in"),
		do("see", "The check is done."), do("axe"),
		do("fill", "Your password", w.Owner.Password), do("button", "Sign in"), do("see", "These devices belong"))
}
