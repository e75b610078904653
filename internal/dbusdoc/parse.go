// SPDX-License-Identifier: Apache-2.0

// Package dbusdoc makes docs/dbus.md out of the introspection XML, whose
// comments carry the text, and out of the list of refusals.
//
// A member, an argument or a property that its comment leaves out is an error
// here, and so is a comment about something that is not there.
package dbusdoc

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Interface is one interface with what its comments say.
type Interface struct {
	Name, Doc  string
	Methods    []Member
	Signals    []Member
	Properties []Property
}

// Member is a method or a signal.
type Member struct {
	Name, Doc string
	In, Out   []Arg
	Signal    bool
}

// Arg is an argument of a member.
type Arg struct{ Name, Type, Doc string }

// Property is a property; Const means that it never changes.
type Property struct {
	Name, Type, Doc string
	Const           bool
}

// note is what a comment says.
type note struct {
	name, doc string
	args      map[string]string
}

// parseNote reads `Name: text` and then `@arg: text` for each argument; either
// may go on over lines.
func parseNote(comment string) note {
	n := note{args: map[string]string{}}
	to := &n.doc
	var arg string
	keep := func() {
		if arg != "" {
			n.args[arg] = *to
		}
	}
	for line := range strings.Lines(comment) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "@"); ok {
			keep()
			arg, line, _ = strings.Cut(name, ":")
			to = new(string)
		} else if n.name == "" {
			n.name, line, _ = strings.Cut(line, ":")
		}
		*to = strings.TrimSpace(*to + " " + strings.TrimSpace(line))
	}
	keep()
	return n
}

// parser reads one XML document.
type parser struct {
	dec   *xml.Decoder
	last  string // the last comment
	iface *Interface
}

// Parse returns the one interface that the XML describes.
func Parse(text string) (*Interface, error) {
	p := &parser{dec: xml.NewDecoder(strings.NewReader(text))}
	for {
		tok, err := p.dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the XML: %w", err)
		}
		switch tok := tok.(type) {
		case xml.Comment:
			p.last = string(tok)
		case xml.StartElement:
			if err := p.element(tok); err != nil {
				return nil, err
			}
		}
	}
	if p.iface == nil {
		return nil, errors.New("the XML describes no interface")
	}
	return p.iface, nil
}

func (p *parser) element(e xml.StartElement) error {
	name := attr(e, "name")
	switch e.Name.Local {
	case "node":
		return nil
	case "interface":
		n, err := p.note(name)
		p.iface = &Interface{Name: name, Doc: n.doc}
		return err
	case "method", "signal":
		n, err := p.note(name)
		if err != nil {
			return err
		}
		return p.member(e, n)
	case "property":
		n, err := p.note(name)
		if err != nil {
			return err
		}
		return p.property(e, n)
	}
	return fmt.Errorf("<%s> stands where it does not belong", e.Name.Local)
}

// note takes the comment that stands before an element.
func (p *parser) note(name string) (note, error) {
	n := parseNote(p.last)
	p.last = ""
	if n.name != name || n.doc == "" {
		return n, fmt.Errorf("%s has no comment of its own before it", name)
	}
	return n, nil
}

func (p *parser) member(e xml.StartElement, n note) error {
	m := Member{Name: n.name, Doc: n.doc}
	var raw struct {
		Args []struct {
			Name string `xml:"name,attr"`
			Type string `xml:"type,attr"`
			Dir  string `xml:"direction,attr"`
		} `xml:"arg"`
	}
	if err := p.dec.DecodeElement(&raw, &e); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	for _, a := range raw.Args {
		doc, ok := n.args[a.Name]
		if !ok {
			return fmt.Errorf("%s: the comment leaves @%s out", n.name, a.Name)
		}
		delete(n.args, a.Name)
		arg := Arg{a.Name, a.Type, doc}
		if a.Dir == "in" {
			m.In = append(m.In, arg)
		} else {
			m.Out = append(m.Out, arg)
		}
	}
	for name := range n.args {
		return fmt.Errorf("%s: the comment tells of @%s, which is not there", n.name, name)
	}
	if m.Signal = e.Name.Local == "signal"; m.Signal {
		p.iface.Signals = append(p.iface.Signals, m)
	} else {
		p.iface.Methods = append(p.iface.Methods, m)
	}
	return nil
}

func (p *parser) property(e xml.StartElement, n note) error {
	var raw struct {
		Type        string `xml:"type,attr"`
		Access      string `xml:"access,attr"`
		Annotations []struct {
			Name  string `xml:"name,attr"`
			Value string `xml:"value,attr"`
		} `xml:"annotation"`
	}
	if err := p.dec.DecodeElement(&raw, &e); err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	if raw.Access != "read" {
		return fmt.Errorf("%s: a property that can be written", n.name)
	}
	out := Property{Name: n.name, Type: raw.Type, Doc: n.doc}
	for _, a := range raw.Annotations {
		if a.Name == "org.freedesktop.DBus.Property.EmitsChangedSignal" && a.Value == "const" {
			out.Const = true
		}
	}
	p.iface.Properties = append(p.iface.Properties, out)
	return nil
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}
