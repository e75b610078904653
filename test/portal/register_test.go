// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"testing"

	"github.com/accountlock/accountlock/test/browser"
)

func TestAnAccountIsMadeInABrowser(t *testing.T) {
	w := newWorld(t)
	w.visit(t, phone,
		w.goTo("/"), do("link", "Make an account"), do("see", "The check is done."), do("axe"), do("targets"), shot(t, "portal-register"),
		do("fill", "E-mail address", "new@example.org"), do("button", "Send a code"),
		do("see", "A code was sent to new@example.org"), do("axe"), do("targets"),
		do("fillasked", "Code", w.mailbox(t)), do("button", "Go on"),
		do("see", "Password again"), do("axe"), do("targets"),
		do("fillin", "#new-password", "a brand new violin"), do("fillin", "#repeat", "a brand new violin"), do("button", "Make the account"),
		do("see", "Your account is made"), do("axe"), do("targets"), shot(t, "portal-registered"),
		do("button", "Copy"), do("see", "Copied"))
	w.visit(t, browser.Plan{Width: 1024, Height: 768, Locale: "zh-CN"},
		w.goTo("/register"), do("see", "检查已完成"), do("axe"), do("tab", "电子邮件"), do("type", "next@example.org"), do("key", "Enter"),
		do("see", "next@example.org"), do("axe"))
}
