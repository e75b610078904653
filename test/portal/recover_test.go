// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/accountlock/accountlock/test/browser"
)

var codePattern = regexp.MustCompile(`\b\d{6}\b`)

// mailbox is a URL at which the driver, not the page, reads the newest code that was sent.
func (w world) mailbox(t *testing.T) string {
	t.Helper()
	return serve(t, func(string) string {
		all := w.Outbox(t)
		for i := len(all) - 1; i >= 0; i-- {
			if c := codePattern.FindString(all[i]); c != "" {
				return c
			}
		}
		return "none"
	})
}

// serve is a URL that answers what say makes of the body it is sent.
func serve(t *testing.T, say func(body string) string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1024))
		if err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(rw, say(string(body)))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAForgottenPasswordIsRecoveredInABrowser(t *testing.T) {
	w := newWorld(t)
	begin := [][]any{
		w.goTo("/sign-in"), do("link", "Forgotten password"), do("see", "The check is done."), do("axe"), do("targets"),
		shot(t, "portal-recover-ask"),
		do("fill", "Account ID, e-mail", w.Owner.Email), do("button", "Recover the password"),
	}
	w.visit(t, phone, append(begin, do("see", "A code is sent from"), do("axe"), do("targets"), shot(t, "portal-recover-wait"))...)
	w.Clock.Advance(7 * 24 * time.Hour)
	w.visit(t, phone, append(begin,
		do("see", "a code was sent to"), do("axe"), do("targets"), shot(t, "portal-recover-code"),
		do("fillasked", "Code", w.mailbox(t)), do("button", "Go on"),
		do("see", "New password again"), do("axe"), do("targets"),
		do("fillin", "#new-password", "short"), do("fillin", "#repeat", "short"),
		do("fillin", "#new-password", "password1"), do("fillin", "#repeat", "password1"), do("button", "Set the password"),
		do("see", "one of those that are guessed first"), do("axe"), shot(t, "portal-recover-password"),
		do("fillin", "#new-password", "a brand new violin"), do("fillin", "#repeat", "a brand new violin"), do("button", "Set the password"),
		do("see", "Your new password is set"), do("axe"),
		do("fill", "Account ID, e-mail", w.Owner.Email), do("fill", "Your password", "a brand new violin"), do("button", "Sign in"),
		do("see", "These devices belong"))...)
}

func TestARecoveryIsAskedForAndStoppedByTheKeyboardAlone(t *testing.T) {
	w := newWorld(t)
	w.visit(t, browser.Plan{Width: 1024, Height: 768},
		w.goTo("/recover"), do("see", "The check is done."),
		do("tab", "Account ID, e-mail"), do("type", w.Owner.ID), do("key", "Enter"), do("see", "A code is sent from"))
	stop := regexp.MustCompile(`/recover/stop\?code=\w+`)
	var link string
	for _, m := range w.Outbox(t) {
		if s := stop.FindString(m); s != "" {
			link = s
		}
	}
	off := false
	w.visit(t, browser.Plan{Width: 320, Height: 640, JavaScript: &off},
		w.goTo(link), do("see", "If it was not you"), do("tab", "Stop it"), do("key", "Enter"), do("see", "The recovery is stopped"))
	w.visit(t, browser.Plan{Width: 320, Height: 640, Touch: true, Dark: true, Locale: "de-DE"},
		w.goTo(link), do("see", "Waren Sie es nicht"), do("axe"), do("targets"), shot(t, "portal-recover-stop"),
		do("see", "Code aus der Nachricht"))
}

func TestAnAccountIDIsSentByABrowser(t *testing.T) {
	w := newWorld(t)
	w.visit(t, phone,
		w.goTo("/recover"), do("see", "The check is done."), do("fill", "Account ID, e-mail", w.Owner.Email), do("button", "Send me my account ID"),
		do("see", "its account ID was sent there"), do("axe"), do("targets"))
}
