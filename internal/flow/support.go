// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"

	"github.com/accountlock/accountlock/internal/fault"
)

// methodSupport is the way of an owner who has no other: support opens a case for
// this device, asks them about the account, and then gives an offline code, or
// releases the device, which hears of it at its next check-in. The device itself
// decides nothing by it.
const methodSupport = "support"

// Case is what the account service is told of a case.
type Case struct {
	// Challenge is what the device shows for an offline code; empty where it can take
	// none.
	Challenge      string
	Locale, Region string
}

// Cases opens support cases at the account service. Errors as Conversation; further
// NotLinked, for a device that nobody owns, and Declined, for one whose owner has
// just stopped a case.
type Cases interface {
	// OpenCase returns the number to read out; asked again it is the same.
	OpenCase(context.Context, Credentials, Case) (string, error)
}

// openCase asks for a case once the person has said that it shall be.
func (f *Flow) openCase(ctx context.Context) error {
	s := f.m.keeper.Snapshot()
	next, prompt := StepWait, supportPrompt(s)
	if s.HasOffline {
		p, err := f.m.keeper.challengePrompt()
		if err != nil {
			return err
		}
		next, prompt = StepOffline, p
	}
	creds, err := f.m.keeper.credentials(ctx)
	if err != nil {
		return err
	}
	k := Case{Challenge: prompt.Challenge, Locale: f.locale, Region: f.region}
	number, err := f.m.ports.Cases.OpenCase(ctx, creds, k)
	if fault.CodeOf(err) == fault.DeviceUnknown && f.m.keeper.enrolAgain(ctx) == nil {
		if creds, err = f.m.keeper.credentials(ctx); err == nil {
			number, err = f.m.ports.Cases.OpenCase(ctx, creds, k)
		}
	}
	f.m.keeper.NoteContact(err)
	switch fault.CodeOf(err) {
	case "":
	case fault.RateLimited, fault.Declined:
		// The wait is about cases alone: it is no attempt, and holds up no other way.
		return err
	default:
		return f.refusal(ctx, err)
	}
	f.mu.Lock()
	f.asking = false
	f.prompt.CaseNumber = number
	f.mu.Unlock()
	f.show(next, f.inCase(prompt))
	return nil
}

// inCase is a prompt of the case that the flow shows, if it shows one.
func (f *Flow) inCase(p Prompt) Prompt {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.CaseNumber = f.prompt.CaseNumber; p.CaseNumber != "" && p.Challenge != "" {
		p.Title, p.Text = supportTitle, supportText
	}
	return p
}

// askedForCase reports whether the flow asks whether a case shall be opened.
func (f *Flow) askedForCase() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asking && f.step == StepConfirm
}

// leaveCase leads back to the flow's beginning: no case shall be opened.
func (f *Flow) leaveCase() {
	f.mu.Lock()
	f.asking = false
	f.step, f.prompt = f.first()
	f.mu.Unlock()
	f.m.changed(f)
}

const (
	supportTitle = "Ask support to help"
	supportText  = "Read the case number, the device ID and the challenge out to support. " +
		"Type the code of eight digits that they give you, or bring their ticket in a file; if they release the device instead, it opens at its next check-in."
)

// casePrompt asks whether a case shall be opened.
func casePrompt(s Snapshot) Prompt {
	return Prompt{
		Title: supportTitle, AccountHint: s.Hint,
		Text: "Support can open a case for this device and help its owner, without a password. A network is needed.",
		Consequences: []string{
			"Support asks you about the account; nobody at support may ask for your password.",
			"The owner of the account is told at once, and can stop it.",
			"Two members of support have to approve, and the owner can object for some hours.",
		},
		Fields: []Field{{Name: "confirm", Type: "bool", Required: true}},
	}
}

// supportPrompt is that of a device which takes no offline code.
func supportPrompt(s Snapshot) Prompt {
	return Prompt{
		Title: supportTitle, AccountHint: s.Hint,
		Text: "Read the case number and the device ID out to support. Once they have released the device, it opens at its next check-in.",
	}
}
