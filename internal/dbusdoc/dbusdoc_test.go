// SPDX-License-Identifier: Apache-2.0

package dbusdoc_test

import (
	"os"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/dbusdoc"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/packaging/dbus"
)

func TestTheCommittedPageIsFresh(t *testing.T) {
	want, err := dbusdoc.Render(ctl.ExitCode)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/dbus.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("docs/dbus.md is stale (run go generate ./internal/dbusdoc)")
	}
}

func TestThePageHoldsEveryMemberAndEveryError(t *testing.T) {
	page, err := dbusdoc.Render(ctl.ExitCode)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{dbus.ManagerXML, dbus.FlowXML} {
		face, err := dbusdoc.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range append(face.Methods, face.Signals...) {
			names = append(names, m.Name+"(")
		}
		for _, p := range face.Properties {
			names = append(names, "| `"+p.Name+"` |")
		}
		for _, name := range names {
			if !strings.Contains(string(page), name) {
				t.Errorf("%s: the page lacks %s", face.Name, name)
			}
		}
	}
	for _, c := range fault.Codes() {
		if !strings.Contains(string(page), "| `"+string(c)+"` |") {
			t.Errorf("the page lacks %s", c)
		}
	}
}

func TestACommentIsReadAsItIsWritten(t *testing.T) {
	const head = `<node><!-- a.B: The
		interface. --><interface name="a.B">`
	const tail = `</interface></node>`
	face, err := dbusdoc.Parse(head + `<!--
		Do: begin: one thing
		and another.
		@in: what
		goes in.
		@out: what comes out.
		--><method name="Do"><arg name="in" type="s" direction="in"/><arg name="out" type="o" direction="out"/></method>
		<!-- P: fixed. --><property name="P" type="u" access="read"><annotation name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="const"/></property>` + tail)
	if err != nil {
		t.Fatal(err)
	}
	m := face.Methods[0]
	if face.Doc != "The interface." || m.Doc != "begin: one thing and another." ||
		m.In[0].Doc != "what goes in." || m.Out[0] != (dbusdoc.Arg{Name: "out", Type: "o", Doc: "what comes out."}) ||
		face.Properties[0] != (dbusdoc.Property{Name: "P", Type: "u", Doc: "fixed.", Const: true}) {
		t.Errorf("got %+v", face)
	}

	for name, body := range map[string]string{
		"a member without a comment":     `<method name="Do"/>`,
		"a comment about something else": `<!-- Dont: no. --><method name="Do"/>`,
		"an argument left out":           `<!-- Do: it. --><method name="Do"><arg name="x" type="s" direction="in"/></method>`,
		"an argument that is not there":  "<!-- Do: it.\n@x: what. --><method name=\"Do\"/>",
		"a property that can be written": `<!-- P: it. --><property name="P" type="s" access="readwrite"/>`,
		"broken XML":                     `<method`,
		"an element that nobody knows":   `<!-- Do: it. --><function name="Do"/>`,
	} {
		if _, err := dbusdoc.Parse(head + body + tail); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := dbusdoc.Parse("<node/>"); err == nil {
		t.Error("no interface at all was accepted")
	}
}
