// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/accountlock/accountlock/internal/lock"

var titles = map[lock.Kind]string{
	lock.KindUnlock:  "Unlock this device",
	lock.KindLink:    "Sign in on this device",
	lock.KindSignOut: "Sign out of this device",
	lock.KindUnlink:  "Unlink this device",
	lock.KindReset:   "Reset this device to its factory state",
	lock.KindRecover: recoverTitle,
}

var outcomeTexts = map[string]string{
	"done":      "Done.",
	"failed":    "This did not work.",
	"cancelled": "Cancelled; nothing was changed.",
}

func identifyPrompt(kind lock.Kind, s Snapshot) Prompt {
	p := Prompt{
		Title:       titles[kind],
		Text:        "Type your account ID, e-mail address or phone number.",
		AccountHint: s.Hint,
		Fields:      []Field{{Name: "identifier", Type: "text", Required: s.Hint == ""}},
	}
	if kind == lock.KindUnlock {
		p.Text = "This device is locked to its owner's account. " + p.Text
	}
	if s.Hint != "" {
		p.Text += " Leave it empty for " + s.Hint + "."
	}
	return p
}

func passwordPrompt(kind lock.Kind, s Snapshot) Prompt {
	p := Prompt{
		Title:  titles[kind],
		Text:   "Type the password of the account.",
		Fields: []Field{{Name: "password", Type: "password", Required: true}},
	}
	if kind != lock.KindLink {
		p.AccountHint = s.Hint
	}
	return p
}

func captchaPrompt(kind lock.Kind, r Remote) Prompt {
	return Prompt{
		Title: titles[kind], Text: "Show that a person is typing.",
		Captcha: r.Captcha, Expires: r.Expires,
		Fields: []Field{{Name: "captcha", Type: "text", Required: true}},
	}
}

func codePrompt(kind lock.Kind, r Remote) Prompt {
	p := Prompt{
		Title: titles[kind], Text: "Type the code that was sent to " + r.SentTo + ".",
		SentTo: r.SentTo, Expires: r.Expires,
		Fields: []Field{{Name: "code", Type: "code", Required: true}},
	}
	if r.SentTo == "" {
		p.Text = "Enter the code that your authenticator app shows, or one of your backup codes."
	}
	return p
}

func approvePrompt(s Snapshot, r Remote) Prompt {
	return Prompt{
		Title: titles[lock.KindUnlock], AccountHint: s.Hint,
		Text: "On a phone or a computer, scan the code or open the address. Sign in there with the account of this device, compare the code, and approve. " +
			"This goes on by itself.",
		URI: r.URI, URIComplete: r.URIComplete, UserCode: r.UserCode, Expires: r.Expires,
	}
}

func linkPrompt(c recoveryCode, r Remote) Prompt {
	return Prompt{
		Title: titles[lock.KindLink],
		Text: "Write this recovery code down and keep it away from the device; it is shown once. " +
			"Then type the groups asked for, to show that you have it.",
		Consequences: []string{
			"After a factory reset this device asks for your account, and does nothing else until it is verified.",
			"Whoever finds or steals it cannot use it.",
			"Before you sell it or give it away, unlink it; otherwise the next owner is locked out.",
		},
		RecoveryCode: c.written(), RecoveryGroups: c.asked, Expires: r.Expires,
		Fields: []Field{{Name: "confirm", Type: "bool", Required: true}, {Name: "recovery-code", Type: "code", Required: true}},
	}
}

func unlinkPrompt(s Snapshot) Prompt {
	return Prompt{
		Title: titles[lock.KindUnlink], Text: "Unlinking ends your ownership of this device.",
		AccountHint: s.Hint,
		Consequences: []string{
			"The device no longer asks for your account after a reset: whoever has it can use it.",
			"It leaves your list of devices; you can no longer mark it lost or find it there.",
			"Your recovery code for it stops working.",
		},
		Fields: []Field{{Name: "confirm", Type: "bool", Required: true}},
	}
}

func recoveryPrompt(s Snapshot) Prompt {
	return Prompt{
		Title: titles[lock.KindUnlock], AccountHint: s.Hint,
		Text:   "Type the recovery code that you wrote down when the account was linked: 64 letters in 8 groups. No network is needed. It works once.",
		Fields: []Field{{Name: "code", Type: "code", Required: true}},
	}
}

func offlinePrompt(challenge, hint string) Prompt {
	return Prompt{
		Title: titles[lock.KindUnlock], AccountHint: hint, Challenge: challenge,
		Text: "Give this challenge and the device ID to the account service: sign in to its portal on another device, or call support. " +
			"Type the code of eight digits that you are given for it, or bring the ticket in a file. No network is needed here.",
		Fields: []Field{{Name: "code", Type: "code", Required: true}},
	}
}

func resetPrompt(s Snapshot, unlinks, begins bool) Prompt {
	p := Prompt{
		Title: titles[lock.KindReset], Text: "A factory reset erases what is on this device. It begins at once.",
		AccountHint:  s.Hint,
		Consequences: []string{"Everything stored on this device is erased: documents, pictures, settings, applications."},
		Fields:       []Field{{Name: "confirm", Type: "bool", Required: true}},
	}
	if !begins {
		p.Text = "A factory reset erases what is on this device. It is begun elsewhere, and allowed until the device starts again."
	}
	switch {
	case unlinks:
		p.Consequences = append(p.Consequences,
			"Your ownership ends: whoever has the device can use it and link it to another account.",
			"It leaves your list of devices; you can no longer mark it lost or find it there.")
	case s.Status.State == lock.Linked:
		p.Consequences = append(p.Consequences,
			"After this one reset the device does not ask for your account: whoever has it can use it until you link it again.",
			"It stays in your list of devices, where you can mark it lost. To give it away, unlink it too.")
	}
	return p
}

func workingPrompt(kind lock.Kind) Prompt {
	return Prompt{Title: titles[kind], Text: "Working. This goes on by itself, even after a restart."}
}
