// SPDX-License-Identifier: Apache-2.0

// Package pagetest holds what the first-boot screen can be told, for the golden
// files of its ways to draw.
package pagetest

import (
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/firstboot/session"
)

// Now is the time in every picture.
func Now() time.Time { return time.Date(2027, time.March, 3, 9, 30, 0, 0, time.UTC) }

// Names are those of Views, in the order of the story.
func Names() []string {
	return []string{"home", "lost", "limited", "identify", "refused", "code", "approve", "offline", "recovery", "wait", "confirm", "working", "failed"}
}

// Views returns what the daemon says in each picture.
func Views() map[string]session.View {
	at := uint64(Now().Unix()) //nolint:gosec // after 1970
	wrong := fault.New(fault.InvalidCredentials, nil)
	down := fault.New(fault.ServiceUnavailable, nil)
	open := []string{"password", "approve", "offline-code", "recovery-code", "recover"}
	out := map[string]session.View{
		"home":    {Home: true, Flow: busclient.Snapshot{Methods: open}},
		"lost":    {Home: true, Flow: busclient.Snapshot{Methods: open}},
		"limited": {Home: true, Flow: busclient.Snapshot{Methods: open}},
		"identify": step("unlock", "identify", open, prompt{
			"title": "Unlock this device", "account-hint": "j•••@example.org",
			"text": "This device is locked to its owner's account. Type your account ID, e-mail address or phone number. Leave it empty for j•••@example.org.",
		}, busclient.Field{Name: "identifier", Type: "text"}),
		"refused": step("unlock", "password", open, prompt{
			"title": "Unlock this device", "text": "Type the password of the account.", "account-hint": "j•••@example.org",
		}, busclient.Field{Name: "password", Type: "password", Required: true}),
		"code": step("unlock", "code", open, prompt{
			"title": "Unlock this device", "text": "Type the code that was sent to +49 ••• ••42.",
			"sent-to": "+49 ••• ••42", "expires": at + 600,
		}, busclient.Field{Name: "code", Type: "code", Required: true}),
		"approve": step("unlock", "approve", open, prompt{
			"title": "Unlock this device", "account-hint": "j•••@example.org",
			"text": "On a phone or a computer, scan the code or open the address. Sign in there with the account of this device, compare the code, and approve. This goes on by itself.",
			"uri":  "https://account.example.org/approve", "uri-complete": "https://account.example.org/approve?code=BDFH-KLMN",
			"user-code": "BDFH-KLMN", "expires": at + 600,
		}),
		"offline": step("unlock", "offline-code", open, prompt{
			"title": "Unlock this device", "challenge": "48151 62342", "account-hint": "j•••@example.org",
			"text": "Give this challenge and the device ID to the account service: sign in to its portal on another device, or call support. Type the code of eight digits that you are given for it. No network is needed here.",
		}, busclient.Field{Name: "code", Type: "code", Required: true}),
		"recovery": step("unlock", "recovery-code", open, prompt{
			"title": "Unlock this device", "account-hint": "j•••@example.org",
			"text": "Type the recovery code that you wrote down when the account was linked: 64 letters in 8 groups. No network is needed. It works once.",
		}, busclient.Field{Name: "code", Type: "code", Required: true}),
		"wait": step("recover", "wait", nil, prompt{
			"title": "Recover the account", "text": "The owner has been told and can stop it.", "until": at + 2*86400 + 3723, "case-number": "2027-00042",
		}),
		"confirm": step("link", "confirm", nil, prompt{
			"title": "Sign in on this device",
			"text":  "Write this recovery code down and keep it away from the device; it is shown once. Then type the groups asked for, to show that you have it.",
			"consequences": []string{
				"After a factory reset this device asks for your account, and does nothing else until it is verified.",
				"Whoever finds or steals it cannot use it.",
			},
			"recovery-code":   "cbdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv-cbdefghi-jklnrtuv",
			"recovery-groups": []uint32{2, 5},
		}, busclient.Field{Name: "confirm", Type: "bool", Required: true}, busclient.Field{Name: "recovery-code", Type: "code", Required: true}),
		"working": step("unlock", "working", nil, prompt{"title": "Unlock this device", "text": "Working. This goes on by itself, even after a restart."}),
		"failed":  step("unlock", "failed", nil, prompt{"title": "Unlock this device", "text": "This did not work."}),
	}
	for name, v := range out {
		v.At = Now()
		v.State = busclient.State{
			DeviceID: "ABCD-EFGH-JKMN", State: "locked", LockReason: "factory-reset",
			AccountHint: "j•••@example.org", Connectivity: "online", LostMessage: map[string]string{},
		}
		switch name {
		case "lost":
			v.State.LockReason, v.State.Connectivity = "lost", "captive-portal"
			v.State.LostMessage = map[string]string{"message": "Please bring me back.", "contact": "+49 30 901820"}
		case "limited":
			v.State.RetryAfter, v.State.DeviceID, v.State.Connectivity = 275, "", "offline"
			v.Flow.Prompt = map[string]dbus.Variant{"waits": dbus.MakeVariant(map[string]uint64{"password": at + 275})}
		case "refused":
			v.Flow.Error = busclient.Refusal{Name: busclient.ErrorPrefix + string(wrong.Code), Message: wrong.Message + " 3 more tries are free of a wait.", Remedy: wrong.Remedy, Counted: true}
		case "working":
			v.Flow.Progress = 0.4
			v.Flow.Error = busclient.Refusal{Name: busclient.ErrorPrefix + string(down.Code), Message: down.Message, Remedy: down.Remedy}
		case "failed":
			v.Flow.Error = busclient.Refusal{Name: busclient.ErrorPrefix + string(down.Code), Message: down.Message, Remedy: down.Remedy}
		}
		out[name] = v
	}
	return out
}

type prompt map[string]any

func step(kind, name string, methods []string, p prompt, fields ...busclient.Field) session.View {
	s := busclient.Snapshot{Kind: kind, Step: name, Methods: methods, Fields: fields, Prompt: map[string]dbus.Variant{}}
	for k, v := range p {
		s.Prompt[k] = dbus.MakeVariant(v)
	}
	return session.View{Flow: s}
}
