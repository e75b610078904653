// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/secret"
)

// errCancelled is the person's own wish to stop.
var errCancelled = busclient.Cancelled("You cancelled it; nothing was changed.", "Begin again when you are ready.")

// detour is what a person asked for instead of an answer.
type detour struct {
	method string // choose this way
	resend bool   // send the code again
}

// Error implements error.
func (detour) Error() string { return "another way was chosen" }

// person asks for the fields of a step on a terminal.
type person struct {
	term Terminal
	draw *drawer
	told bool // what Enter alone does
}

// prompts are the words for fields. A name that is not here is asked for as
// it is, so that a new step needs no new client.
var prompts = map[string]string{
	"identifier": "Account ID, e-mail or phone number",
	"password":   "Password",
	"repeat":     "The same password again",
	"code":       "Code",
	"captcha":    "Answer to the check",
}

// confirm asks for a yes or a no. A no ends the flow.
func (p *person) confirm(ctx context.Context, f busclient.Field) (bool, error) {
	question := "Go on?"
	if f.Name != "confirm" {
		question = wording(f)
	}
	for {
		line, err := p.line(ctx, question+" [y/N] ", false)
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(string(line))) {
		case "y", "yes":
			return true, nil
		case "", "n", "no":
			if f.Name == "confirm" {
				return false, errCancelled
			}
			return false, nil
		}
		p.draw.say("Type y or n.")
	}
}

// text asks for a field of text. Nothing typed means: leave an optional one
// out (nil), or offer the other ways.
func (p *person) text(ctx context.Context, s busclient.Snapshot, f busclient.Field) (secret.Bytes, error) {
	question := wording(f)
	if f.Name == "recovery-code" {
		question = groupsQuestion(s)
	}
	switch hint := console.Clean(s.Text("account-hint")); {
	case f.Required:
	case f.Name == "identifier" && hint != "":
		question += " (Enter for " + hint + ")"
	default:
		question += " (Enter to leave it out)"
	}
	if f.Required && len(s.Methods) > 0 && !p.told {
		p.told = true
		p.draw.say("Enter alone shows what else you can do; Ctrl-C cancels.")
	}
	hidden := f.Type == "password"
	if hidden && p.term.CapsLock() {
		p.draw.say("Caps lock is on.")
	}
	for {
		line, err := p.line(ctx, question+": ", hidden)
		if err != nil || len(line) > 0 {
			return line, err
		}
		if !f.Required {
			return nil, nil
		}
		if err := p.menu(ctx, s); err != nil {
			return nil, err
		}
	}
}

func wording(f busclient.Field) string {
	if q, ok := prompts[f.Name]; ok {
		return q
	}
	return console.Clean(f.Name)
}

func groupsQuestion(s busclient.Snapshot) string {
	groups, ok := s.Prompt["recovery-groups"].Value().([]uint32)
	if !ok || len(groups) == 0 {
		return "The recovery code"
	}
	words := make([]string, len(groups))
	for i, g := range groups {
		words[i] = strconv.FormatUint(uint64(g), 10)
	}
	if len(words) == 1 {
		return "Group " + words[0] + " of the recovery code"
	}
	last := len(words) - 1
	return "Groups " + strings.Join(words[:last], ", ") + " and " + words[last] + " of the recovery code"
}

// ways are the words for methods, as above.
var ways = map[string]string{
	"password":      "begin again with the account and its password",
	"approve":       "approve it from another device",
	"offline-code":  "use an offline code",
	"recovery-code": "use the recovery code",
	"recover":       "recover a forgotten password or account ID",
	"support":       "ask support to open a case",
}

// menu offers what else can be done at this step: nil goes on with it.
func (p *person) menu(ctx context.Context, s busclient.Snapshot) error {
	type item struct {
		text string
		err  error
	}
	items := []item{{"answer this step", nil}}
	for _, m := range s.Methods {
		text, ok := ways[m]
		if !ok {
			text = console.Clean(m)
		}
		items = append(items, item{text, detour{method: m}})
	}
	if s.Step == "code" {
		text := "send the code again"
		if s.Text("sent-to") == "" {
			text = "send me a code instead of the app's"
		}
		items = append(items, item{text, detour{resend: true}})
	}
	items = append(items, item{"cancel", errCancelled})
	for i, it := range items {
		p.draw.say("%d  %s", i+1, it.text)
	}
	for {
		line, err := p.line(ctx, fmt.Sprintf("Which? [1-%d] ", len(items)), false)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(line)))
		switch {
		case len(line) == 0:
			return nil
		case err == nil && n >= 1 && n <= len(items):
			return items[n-1].err
		}
		p.draw.say("Type a number from 1 to %d.", len(items))
	}
}

// line reads one line; the end of the input is the wish to stop.
func (p *person) line(ctx context.Context, question string, hidden bool) (secret.Bytes, error) {
	p.draw.endLine()
	read := p.term.ReadLine
	if hidden {
		read = p.term.ReadSecret
	}
	line, err := read(ctx, indent+question)
	if errors.Is(err, io.EOF) {
		return nil, errCancelled
	}
	return line, err
}
