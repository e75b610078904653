// SPDX-License-Identifier: Apache-2.0

package dbusdoc

import (
	"bytes"
	_ "embed" // for the template
	"fmt"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/packaging/dbus"
)

//go:generate go run ./gen

//go:embed dbus.md.tmpl
var source string

// Refusal is one row of the list of errors.
type Refusal struct {
	Name, Cause, Remedy string
	Exit                int
}

// Render returns docs/dbus.md. exit gives accountlockctl's exit code.
func Render(exit func(fault.Code) int) ([]byte, error) {
	manager, err := Parse(dbus.ManagerXML)
	if err != nil {
		return nil, fmt.Errorf("cannot document the Manager: %w", err)
	}
	flow, err := Parse(dbus.FlowXML)
	if err != nil {
		return nil, fmt.Errorf("cannot document the Flow: %w", err)
	}
	refusals := make([]Refusal, 0, len(fault.Codes()))
	for _, c := range fault.Codes() {
		f := fault.New(c, nil)
		refusals = append(refusals, Refusal{string(c), f.Message, f.Remedy, exit(c)})
	}
	t, err := template.New("dbus.md").Funcs(template.FuncMap{"call": call, "args": args, "cell": cell, "text": sentence}).Parse(source)
	if err != nil {
		return nil, fmt.Errorf("cannot read the template: %w", err)
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{"Manager": manager, "Flow": flow, "Refusals": refusals})
	if err != nil {
		return nil, fmt.Errorf("cannot fill the template: %w", err)
	}
	return b.Bytes(), nil
}

// call writes a method as it is called, Name(type name) → type name, and a
// signal as it is sent.
func call(m Member) string {
	switch {
	case m.Signal:
		return m.Name + "(" + list(m.Out) + ")"
	case len(m.Out) == 0:
		return m.Name + "(" + list(m.In) + ")"
	}
	return m.Name + "(" + list(m.In) + ") → " + list(m.Out)
}

// sentence begins a text as one; a word in backquotes stays as it is.
func sentence(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func list(as []Arg) string {
	words := make([]string, len(as))
	for i, a := range as {
		words[i] = a.Type + " " + a.Name
	}
	return strings.Join(words, ", ")
}

func args(m Member) []Arg { return append(append([]Arg{}, m.In...), m.Out...) }

// cell makes a text fit for a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
