// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
)

const recoveryCode = "cbdefghi-jklnrtuv-bcdefghi-ijklnrtu-cbdefghj-jklnrtuc-bcdefghk-klnrtuvb"

var (
	passwordField   = fakeField{"password", "password", true}
	identifierField = fakeField{"identifier", "text", true}
)

func checkPassword(in values) *fault.Error {
	switch b, ok := in["password"].Value().([]byte); {
	case !ok:
		return fault.Newf(fault.InvalidArgument, "The password came as %s.", sayType(in["password"]))
	case string(b) == wrongPassword:
		return counted(fault.InvalidCredentials, "")
	case string(b) != password:
		return fault.New(fault.ServiceUnavailable, nil)
	}
	return nil
}

func unlockSteps(end ...fakeStep) []fakeStep {
	steps := []fakeStep{
		{
			name: "identify",
			prompt: map[string]any{
				"title": "Unlock this device", "account-hint": "j•••@example.org",
				"text": "This device is locked to its owner's account. Type your account ID, e-mail address or phone number. Leave it empty for j•••@example.org.",
			},
			fields:  []fakeField{{"identifier", "text", false}},
			methods: []string{"password", "approve"},
		},
		{
			name: "password",
			prompt: map[string]any{
				"title": "Unlock this device", "text": "Type the password of the account.", "account-hint": "j•••@example.org",
			},
			fields:  []fakeField{passwordField},
			methods: []string{"password", "approve"},
			answer:  checkPassword,
		},
	}
	if end != nil {
		return append(steps, end...)
	}
	return append(steps,
		fakeStep{
			name:     "working",
			prompt:   map[string]any{"title": "Unlock this device", "text": "Working. This goes on by itself, even after a restart."},
			progress: []float64{0, 0.5, 1},
		},
		doneAs("linked"),
	)
}

// doneAs is the last step, with the state that it leads to.
func doneAs(state string) fakeStep {
	return fakeStep{
		name:   "done",
		prompt: map[string]any{"title": "Done", "text": "Done."},
		enter: func(d *fakeDaemon) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.props["State"], d.props["LockReason"] = state, ""
		},
	}
}

var approveSteps = []fakeStep{
	{
		name: "approve",
		prompt: map[string]any{
			"title": "Approve on another device", "text": "Open the address and compare the code.",
			"uri": "https://accounts.example.org/approve", "uri-complete": "https://accounts.example.org/approve?code=WDJB-MJHT", "user-code": "WDJB-MJHT",
			"expires": uint64(1772619300), // 2026-03-04 10:15 UTC
		},
		progress: []float64{-1, -1},
		methods:  []string{"password"},
	},
	doneAs("linked"),
}

// challengeSteps are those of an offline code, on its own or in a case.
func challengeSteps(caseNumber string) []fakeStep {
	prompt := map[string]any{"title": "Unlock this device", "text": "Give this challenge and the device ID to the account service.", "challenge": "6748048427"}
	if caseNumber != "" {
		prompt["case-number"] = caseNumber
	}
	return []fakeStep{{name: "offline-code", prompt: prompt, fields: []fakeField{{"code", "code", true}}}, doneAs("linked")}
}

func linkSteps() []fakeStep {
	return []fakeStep{
		{
			name:   "identify",
			prompt: map[string]any{"title": "Sign in on this device", "text": "Type your account ID, e-mail address or phone number."},
			fields: []fakeField{identifierField},
		},
		{
			name:   "password",
			prompt: map[string]any{"title": "Sign in on this device", "text": "Type the password of the account."},
			fields: []fakeField{passwordField}, answer: checkPassword,
		},
		{
			name: "code",
			prompt: map[string]any{
				"title": "Sign in on this device", "text": "Type the code that was sent.", "sent-to": "+49 ••• ••42",
			},
			fields: []fakeField{{"code", "code", true}},
			answer: func(in values) *fault.Error {
				if b, ok := in["code"].Value().([]byte); !ok || string(b) != smsCode {
					return counted(fault.InvalidCode, "")
				}
				return nil
			},
		},
		{
			name: "confirm",
			prompt: map[string]any{
				"title": "Sign in on this device",
				"text":  "Write this recovery code down and keep it away from the device; it is shown once. Then type the groups asked for, to show that you have it.",
				"consequences": []string{
					"After a factory reset this device asks for your account, and does nothing else until it is verified.",
					"Whoever finds or steals it cannot use it.",
				},
				"recovery-code": recoveryCode, "recovery-groups": []uint32{2, 5},
			},
			fields: []fakeField{{"confirm", "bool", true}, {"recovery-code", "code", true}},
			answer: func(in values) *fault.Error {
				b, _ := in["recovery-code"].Value().([]byte)
				if yes, _ := in["confirm"].Value().(bool); !yes || string(b) != "jklnrtuv-cbdefghj" {
					return fault.New(fault.InvalidCode, nil)
				}
				return nil
			},
		},
		{name: "working", prompt: map[string]any{"title": "Sign in on this device"}, progress: []float64{-1, 0.5, 1}},
		doneAs("linked"),
	}
}

func unlinkSteps() []fakeStep {
	return []fakeStep{
		{
			name: "confirm",
			prompt: map[string]any{
				"title": "Unlink this device", "text": "Unlinking ends your ownership of this device.",
				"consequences": []string{"The device no longer asks for your account after a reset."},
			},
			fields: []fakeField{{"confirm", "bool", true}},
		},
		{
			name: "password", prompt: map[string]any{"title": "Unlink this device"},
			fields: []fakeField{passwordField}, answer: checkPassword,
		},
		doneAs("unlinked"),
	}
}

func receipt() values {
	return values{"state": dbus.MakeVariant("unlinked"), "receipt": dbus.MakeVariant("eyJhbGciOiJFZERTQSJ9.e30.c2ln")}
}

// scenarios are what a script of testdata/script asks for by name.
var scenarios = map[string]func(*fakeDaemon){
	"locked": func(d *fakeDaemon) {
		d.props["State"], d.props["LockReason"], d.props["AccountHint"] = "locked", "factory-reset", "j•••@example.org"
		d.flow.steps = unlockSteps()
		d.flow.ways = map[string][]fakeStep{"approve": approveSteps, "offline-code": challengeSteps(""), "support": challengeSteps("123-456-789")}
	},
	"approval refused": func(d *fakeDaemon) {
		d.props["State"], d.props["LockReason"], d.props["AccountHint"] = "locked", "factory-reset", "j•••@example.org"
		d.flow.steps = unlockSteps()
		d.flow.ways = map[string][]fakeStep{"approve": {approveSteps[0], {name: "failed", prompt: map[string]any{}, err: fault.New(fault.Declined, nil)}}}
	},
	"unlinked": func(d *fakeDaemon) { d.flow.steps = linkSteps() },
	"linked": func(d *fakeDaemon) {
		d.props["State"], d.props["AccountHint"] = "linked", "j•••@example.org"
		d.flow.steps, d.flow.result = unlinkSteps(), receipt()
		d.account = values{
			"account-id": dbus.MakeVariant("12345678"), "identifiers": dbus.MakeVariant([]string{"j•••@example.org"}),
			"signed-in": dbus.MakeVariant(uint64(1772619300)), "link-id": dbus.MakeVariant("lnk-1"),
		}
	},
	"lost": func(d *fakeDaemon) {
		d.props["State"], d.props["LockReason"], d.props["AccountHint"] = "locked", "lost", "j•••@example.org"
		d.props["LostMessage"] = map[string]string{"message": "Please call me.\x1b]0;owned\a", "contact": "+49 30 1234"}
		d.props["RetryAfter"], d.props["LastCheckIn"] = uint32(90), uint64(1772619300)
		d.flow.steps = unlockSteps()
	},
	"damaged state": func(d *fakeDaemon) { d.props["State"] = "half-open" },
	"rate limited":  func(d *fakeDaemon) { d.refuse["Unlock"] = refusal(fault.New(fault.RateLimited, nil)) },
	"stuck": func(d *fakeDaemon) {
		d.flow.steps = unlockSteps(fakeStep{name: "working", prompt: map[string]any{"title": "Working"}})
	},
}
