// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"encoding/base32"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/secret"
	"github.com/accountlock/accountlock/internal/service/totp"
	"github.com/accountlock/accountlock/test/browser"
)

// app is an authenticator app at a URL: it takes a key and says the next code of it.
func (w world) app(t *testing.T) string {
	t.Helper()
	var key secret.Bytes
	return serve(t, func(body string) string {
		if body != "" {
			raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(body, " ", ""))
			if err != nil {
				return err.Error()
			}
			key = raw
		}
		w.Clock.Advance(31 * time.Second)
		return totp.Code(key, totp.Step(w.Clock.Now()))
	})
}

func TestAnAppIsSetUpAndUsedInABrowser(t *testing.T) {
	w := newWorld(t)
	codes := w.app(t)
	w.visit(t, phone, append(w.signIn(),
		w.goTo("/account"), do("link", "Authenticator app, passkeys"), do("see", "There is none yet"), do("axe"), do("targets"),
		do("open", "Set up an authenticator app"), do("axe"), do("targets"), do("fillin", "#app-password", w.Owner.Password), do("button", "Go on"),
		do("see", "Scan this with"), do("axe"), do("targets"), shot(t, "portal-factors-app"),
		do("fillin", "#code", "000000"), do("fill", "What you call it", "My phone"), do("button", "Set it up"), do("see", "The code is wrong"), do("axe"),
		do("answer", "#key", "#code", codes), do("button", "Set it up"), do("see", "Write these codes down"))...)

	steps := [][]any{
		w.goTo("/sign-in"), do("fill", "Account ID, e-mail", w.Owner.Email), do("fill", "Your password", w.Owner.Password), do("button", "Sign in"),
		do("see", "your authenticator app shows"), do("axe"), shot(t, "portal-sign-in-code"),
		do("fillasked", "Code", codes), do("button", "Go on"), do("see", "These devices belong"),
		w.goTo("/account/factors"), do("see", "My phone"), do("axe"), shot(t, "portal-factors"),
	}
	w.visit(t, phone, append(steps, do("targets"),
		do("open", "Get new backup codes"), do("fillin", "#backup-password", w.Owner.Password), do("fillinasked", "#backup-second", codes),
		do("button", "Get new backup codes"), do("see", "Write these codes down"), do("axe"), do("targets"), shot(t, "portal-factors-backup"),
		do("link", "I have written them down"), do("see", "Left: 10"))...)
	off := false
	w.visit(t, browser.Plan{Width: 390, Height: 844, JavaScript: &off},
		w.goTo("/sign-in"), do("fill", "Account ID, e-mail", w.Owner.Email), do("fill", "Your password", w.Owner.Password), do("button", "Sign in"),
		do("fillasked", "Code", codes), do("button", "Go on"), do("see", "These devices belong"),
		w.goTo("/devices/"+w.device.ID), do("open", "Unlink this device"), do("tick", "The device need not be mine"),
		do("fillin", "#unlink-password", w.Owner.Password), do("fillinasked", "#unlink-second", codes), do("button", "Unlink the device"),
		do("see", "The device no longer belongs to you"))
}

// sent is the mailbox at a URL: it says the newest code in it.
func (w world) sent(t *testing.T) string {
	t.Helper()
	code := regexp.MustCompile(`\b\d{6}\b`)
	return serve(t, func(string) string {
		all := w.Outbox(t)
		for i := len(all) - 1; i >= 0; i-- {
			if c := code.FindString(all[i]); c != "" && strings.Contains(all[i], "code") {
				return c
			}
		}
		return "no code"
	})
}

func TestACodeThatIsSentProvesTheOwnerInABrowser(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Accounts.SetSecondFactor(t.Context(), w.Owner.ID, true); err != nil {
		t.Fatal(err)
	}
	codes := w.sent(t)
	in := [][]any{
		w.goTo("/sign-in"), do("fill", "Account ID, e-mail", w.Owner.Email), do("fill", "Your password", w.Owner.Password), do("button", "Sign in"),
		do("see", "A code was sent to"), do("fillasked", "Code", codes), do("button", "Go on"), do("see", "These devices belong"),
	}
	off := false
	w.visit(t, browser.Plan{Width: 390, Height: 844, JavaScript: &off}, append(in,
		w.goTo("/devices/"+w.device.ID), do("open", "Unlink this device"), do("tick", "The device need not be mine"),
		do("fillin", "#unlink-password", w.Owner.Password), do("button", "Unlink the device"), do("see", "Nothing was changed yet: a code was sent to"),
		// The form is open still, and the box ticked.
		do("fillin", "#unlink-password", w.Owner.Password), do("fillinasked", "#unlink-second", codes), do("button", "Unlink the device"),
		do("see", "The device no longer belongs to you"))...)
	w.visit(t, phone, append(in,
		w.goTo("/account"), do("open", "Change this"), do("axe"), do("targets"),
		do("fillin", "#factor-password", w.Owner.Password), do("button", "Ask for no code"),
		do("see", "Nothing was changed yet"), do("axe"), do("targets"), shot(t, "portal-code-sent"),
		do("fillin", "#factor-password", w.Owner.Password), do("fillinasked", "#factor-second", codes), do("button", "Ask for no code"),
		do("see", "The second factor was changed"), do("see", "The password alone is asked for"), do("axe"))...)
}

// named reaches the portal by its name, as passkeys need it.
func named(t *testing.T, w world) world {
	t.Helper()
	u, err := url.Parse(w.PortalURL)
	if err != nil || u.Hostname() != "localhost" {
		t.Fatalf("%s, %v", w.PortalURL, err)
	}
	w.URL = w.PortalURL
	return w
}

func TestAPasskeyIsMadeAndSignsIn(t *testing.T) {
	w := named(t, newWorld(t))
	w.visit(t, browser.Plan{Width: 390, Height: 844, Touch: true}, append([][]any{do("authenticator")}, append(w.signIn(),
		w.goTo("/account/factors"), do("open", "Set up a passkey"), do("axe"), do("targets"),
		do("fillin", "#passkey-password", w.Owner.Password), do("button", "Go on"),
		do("see", "What you call it"), do("fill", "What you call it", "This phone"), do("axe"), do("targets"), shot(t, "portal-factors-passkey"),
		do("button", "Create the passkey"), do("see", "Write these codes down"),
		w.goTo("/account/factors"), do("see", "This phone"), do("axe"),
		do("button", "Sign out"), do("see", "You are signed out"),
		// Alone, without name and password: the browser offers it in the first field.
		w.goTo("/sign-in"), do("see", "These devices belong"),
		do("button", "Sign out"), do("see", "You are signed out"),
		// After the password.
		do("finger", false),
		w.goTo("/sign-in"), do("fill", "Account ID, e-mail", w.Owner.Email), do("fill", "Your password", w.Owner.Password), do("button", "Sign in"),
		do("see", "Use your passkey"), do("axe"), do("targets"),
		do("finger", true), do("button", "Use a passkey"), do("see", "These devices belong"),
		// And once more before what cannot be taken back.
		w.goTo("/devices/"+w.device.ID), do("open", "Unlink this device"), do("axe"), do("tick", "The device need not be mine"),
		do("fillin", "#unlink-password", w.Owner.Password), do("buttonin", "[action$='/unlink']", "Use a passkey"),
		do("see", "The device no longer belongs to you"))...)...)
}

func TestWithoutAPasskeyThePageSaysWhatToDo(t *testing.T) {
	w := named(t, newWorld(t))
	w.visit(t, browser.Plan{Width: 1024, Height: 768},
		do("authenticator"), w.goTo("/sign-in"), do("axe"), do("tab", "Sign in with a passkey"), do("key", "Enter"), do("see", "That did not work"), do("axe"))
	off := false
	w.visit(t, browser.Plan{Width: 390, Height: 844, JavaScript: &off}, append(w.signIn(),
		w.goTo("/account/factors"), do("open", "Set up a passkey"), do("fillin", "#passkey-password", w.Owner.Password), do("button", "Go on"),
		do("see", "This browser cannot use passkeys"))...)
}
