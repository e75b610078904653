// SPDX-License-Identifier: Apache-2.0

package portal_test

import (
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/test/browser"
)

// wantGrant fails the test unless the device now gets what opens it.
func (w world) wantGrant(t *testing.T, flow string) {
	t.Helper()
	w.Clock.Advance(5 * time.Second)
	if a := w.device.Reply(t, flow, apitest.Approve(apitest.NewNonce())); a.Step.Grant == nil {
		t.Errorf("the device gets %d %s", a.Status, a.Body)
	}
}

func TestAnOwnerApprovesOnAPhoneBySigningInFirst(t *testing.T) {
	w := newWorld(t)
	flow, code := w.device.AskApproval(t)
	w.visit(t, phone,
		w.goTo("/approve?code="+code),
		do("fill", "Account ID, e-mail", w.Owner.Email), do("fill", "Your password", w.Owner.Password), do("button", "Sign in"),
		do("see", "Somebody asks to open this device"), do("see", code), do("see", w.device.ID), do("axe"), do("targets"),
		do("tick", "The device is in my hands"), do("button", "Open this device"),
		do("see", "You approved it"), do("axe"), do("targets"))
	w.wantGrant(t, flow)
}

func TestAnOwnerApprovesByTheKeyboardAlone(t *testing.T) {
	w := newWorld(t)
	flow, code := w.device.AskApproval(t)
	steps := append(w.signIn(),
		do("tab", "Open a locked device with its code"), do("key", "Enter"),
		do("see", "A locked device shows a code"), do("tab", "The code on the device"), do("type", code), do("key", "Enter"),
		do("see", "Somebody asks to open this device"),
		do("tab", "The device is in my hands"), do("key", "Space"), do("tab", "Open this device"), do("key", "Enter"),
		do("see", "You approved it"))
	w.visit(t, browser.Plan{Width: 1024, Height: 768}, steps...)
	w.wantGrant(t, flow)
}

func TestAnOwnerAnswersWithoutJavaScriptInTheirOwnLanguage(t *testing.T) {
	w := newWorld(t)
	off := false
	_, first := w.device.AskApproval(t)
	flow, second := w.device.AskApproval(t)
	steps := append(w.signIn(),
		w.goTo("/approve"), do("fill", "The code on the device", first), do("button", "Go on"),
		do("see", "Somebody asks to open this device"), do("button", "No, keep it locked"), do("see", "You refused it"),
		w.goTo("/approve?code="+second),
		do("tick", "The device is in my hands"), do("button", "Open this device"), do("see", "You approved it"))
	w.visit(t, browser.Plan{Width: 390, Height: 844, JavaScript: &off}, steps...)
	w.wantGrant(t, flow)
}
