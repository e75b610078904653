// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"strings"
	"unicode/utf8"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

// Step is where a flow stands. The values are those of the D-Bus property Step.
type Step string

// The steps that this version leads to.
const (
	StepIdentify Step = "identify"
	StepPassword Step = "password"
	StepCaptcha  Step = "captcha"
	StepCode     Step = "code"
	StepApprove  Step = "approve"
	StepConfirm  Step = "confirm"
	StepWait     Step = "wait"
	StepNew      Step = "new-password"
	StepOffline  Step = "offline-code"
	StepRecovery Step = "recovery-code"
	StepWorking  Step = "working"
	StepDone     Step = "done"
	StepFailed   Step = "failed"
)

// waits reports whether the step waits for an answer.
func (s Step) waits() bool {
	return s != StepWorking && s != StepDone && s != StepFailed
}

// over reports whether the flow has ended.
func (s Step) over() bool { return s == StepDone || s == StepFailed }

// Field is one thing that a person is asked to type.
type Field struct {
	Name     string
	Type     string // text, password, code, bool
	Required bool
}

// Prompt is what a client draws. Fields that a step does not need are zero.
type Prompt struct {
	Title, Text    string
	Fields         []Field
	AccountHint    string
	SentTo         string
	Captcha        string
	Consequences   []string
	RecoveryCode   string
	RecoveryGroups []uint32
	Challenge      string
	CaseNumber     string
	// URI, URIComplete and UserCode are where and by what an owner approves.
	URI, URIComplete, UserCode string
	Expires                    int64
	// Until is when the next attempt is taken, in seconds since the epoch.
	Until int64
	// Waits says the same of each way that has to wait, in an unlock; the others are
	// open.
	Waits map[string]int64
}

// Input is an answer as it came: strings, booleans, and secrets as bytes.
type Input map[string]any

// Wipe overwrites the secrets in it.
func (in Input) Wipe() {
	for _, v := range in {
		if b, ok := v.(secret.Bytes); ok {
			b.Wipe()
		}
	}
}

// The kinds of value that an answer may hold.
const (
	wantText = iota
	wantSecret
	wantBool
)

// keys lists what each step takes, but see takes. What is not listed is an
// InvalidArgument.
var keys = map[Step]map[string]int{
	StepIdentify: {"identifier": wantText},
	StepPassword: {"password": wantSecret},
	StepCaptcha:  {"captcha": wantText},
	StepCode:     {"code": wantSecret},
	StepNew:      {"password": wantSecret, "repeat": wantSecret},
	StepConfirm:  {"confirm": wantBool},
	StepOffline:  {"code": wantSecret},
	StepRecovery: {"code": wantSecret},
}

const (
	maxIdentifier = 254 // RFC 5321, 4.5.3.1.3, less the brackets
	maxSecret     = 1024
	maxTicket     = 4096 // an offline code's step takes a ticket too
	maxCaptcha    = 4096
)

// answer is an Input that fits its step.
type answer struct {
	identifier   string
	captcha      string
	password     secret.Bytes
	repeat       secret.Bytes
	code         secret.Bytes
	recoveryCode secret.Bytes
	confirm      bool
}

// confirmOfLink is what the step confirm of a link takes, which shows a recovery code.
var confirmOfLink = map[string]int{"confirm": wantBool, "recovery-code": wantSecret}

// takes returns what a step takes in a flow of this kind.
func takes(kind lock.Kind, step Step) (map[string]int, bool) {
	if kind == lock.KindLink && step == StepConfirm {
		return confirmOfLink, true
	}
	known, ok := keys[step]
	return known, ok
}

// parse checks an answer against its step and the bounds. It changes nothing.
func parse(kind lock.Kind, step Step, in Input) (answer, error) {
	var a answer
	known, ok := takes(kind, step)
	if !ok {
		return a, fault.New(fault.WrongStep, nil)
	}
	for key, v := range in {
		want, ok := known[key]
		if !ok {
			return a, fault.Newf(fault.InvalidArgument, "The step %q does not take %q.", step, printable(key))
		}
		if err := a.take(step, key, want, v); err != nil {
			return a, err
		}
	}
	return a, a.complete(step, in)
}

func (a *answer) take(step Step, key string, want int, v any) error {
	switch want {
	case wantBool:
		b, ok := v.(bool)
		if !ok {
			return fault.Newf(fault.InvalidArgument, "The answer %q must be a boolean.", key)
		}
		a.confirm = b
	case wantText:
		s, ok := v.(string)
		if !ok {
			return fault.Newf(fault.InvalidArgument, "The answer %q must be a string.", key)
		}
		if key == "identifier" {
			a.identifier = strings.TrimSpace(s)
		} else {
			a.captcha = s
		}
	case wantSecret:
		b, ok := v.(secret.Bytes)
		if s, isString := v.(string); isString {
			// Allowed for clients that cannot do better; it cannot be wiped.
			b, ok = secret.Bytes(s), true
		}
		if !ok {
			return fault.Newf(fault.InvalidArgument, "The answer %q must be bytes or a string.", key)
		}
		limit := maxSecret
		if step == StepOffline {
			limit = maxTicket
		}
		switch {
		case len(b) > limit:
			return tooLong()
		case !utf8.Valid(b):
			return fault.Newf(fault.InvalidArgument, "What was typed holds characters that cannot be read.")
		}
		switch key {
		case "password":
			a.password = b
		case "repeat":
			a.repeat = b
		case "code":
			a.code = b
		default:
			a.recoveryCode = b
		}
	}
	return nil
}

// tooLong is said to whoever typed it: the bounds of docs/dbus.md are beyond whatever a
// person would type.
func tooLong() error { return fault.Newf(fault.InvalidArgument, "What was typed is too long.") }

// complete refuses an answer that lacks what the step cannot do without.
func (a *answer) complete(step Step, in Input) error {
	_, confirmed := in["confirm"]
	switch {
	case len(a.identifier) > maxIdentifier, len(a.captcha) > maxCaptcha:
		return tooLong()
	case (step == StepPassword || step == StepNew) && len(a.password) == 0:
		return fault.Newf(fault.InvalidArgument, "The password is empty.")
	case (step == StepCode || step == StepOffline || step == StepRecovery) && len(a.code) == 0:
		return fault.Newf(fault.InvalidArgument, "The code is empty.")
	case step == StepCaptcha && a.captcha == "":
		return fault.Newf(fault.InvalidArgument, "Nothing was typed.")
	case step == StepConfirm && !confirmed:
		return fault.Newf(fault.InvalidArgument, "The answer must say %q.", "confirm")
	}
	return nil
}

// printable bounds a client's own word before it goes back into a message.
func printable(s string) string {
	if len(s) > 40 {
		s = s[:40]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
