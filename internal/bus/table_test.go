// SPDX-License-Identifier: Apache-2.0

package bus_test

import (
	"encoding/xml"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/godbus/dbus/v5/prop"

	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	packaged "github.com/accountlock/accountlock/packaging/dbus"
)

func parse(t *testing.T, source string) introspect.Interface {
	t.Helper()
	var n introspect.Node
	if err := xml.Unmarshal([]byte(source), &n); err != nil {
		t.Fatal(err)
	}
	if len(n.Interfaces) != 1 {
		t.Fatalf("%d interfaces", len(n.Interfaces))
	}
	return n.Interfaces[0]
}

func signature(args []introspect.Arg, direction string) string {
	var b strings.Builder
	for _, a := range args {
		if a.Direction == direction {
			b.WriteString(a.Type)
		}
	}
	return b.String()
}

func TestIntrospectionIsTheXMLWithTheStandardInterfaces(t *testing.T) {
	for _, source := range []string{packaged.ManagerXML, packaged.FlowXML} {
		own := parse(t, source)
		var n introspect.Node
		if err := xml.Unmarshal([]byte(bus.Nodes()[own.Name]), &n); err != nil {
			t.Fatal(err)
		}
		got := map[string]introspect.Interface{}
		for _, face := range n.Interfaces {
			got[face.Name] = face
		}
		if !reflect.DeepEqual(got[own.Name], own) {
			t.Errorf("%s is described as %+v, and packaged as %+v", own.Name, got[own.Name], own)
		}
		for _, want := range []introspect.Interface{introspect.IntrospectData, introspect.PeerData} {
			if face := got[want.Name]; len(face.Methods) != len(want.Methods) {
				t.Errorf("%s is described as %+v", want.Name, face)
			}
		}
		if face := got[prop.IntrospectData.Name]; len(face.Methods) != len(prop.IntrospectData.Methods) || len(face.Signals) != len(prop.IntrospectData.Signals) {
			t.Errorf("the properties are described as %+v", face)
		}
	}
}

func TestTheXMLTheTableAndTheHandlersAreEqual(t *testing.T) {
	tables := bus.Tables()
	for _, source := range []string{packaged.ManagerXML, packaged.FlowXML} {
		face := parse(t, source)
		rows := tables[face.Name]
		if len(rows) != len(face.Methods) {
			t.Errorf("%s: the XML has %d methods, the code %d", face.Name, len(face.Methods), len(rows))
		}
		for _, m := range face.Methods {
			want := bus.Row{In: signature(m.Args, "in"), Out: signature(m.Args, "out")}
			if got, ok := rows[m.Name]; !ok || got != want {
				t.Errorf("%s.%s: the XML says %+v, the code %+v (%v)", face.Name, m.Name, want, got, ok)
			}
		}
	}
}

func TestEveryMethodOfTheManagerIsInTheAuthorityTableAndItsActionIsPackaged(t *testing.T) {
	policy, err := os.ReadFile("../../packaging/polkit/org.accountlock.AccountLock1.policy")
	if err != nil {
		t.Fatal(err)
	}
	table := bus.Authority()
	for name := range bus.Tables()[bus.ManagerFace] {
		action, ok := table[name]
		if !ok {
			t.Errorf("%s is not in the table: it would be denied to all", name)
		}
		if action != "free" && !strings.Contains(string(policy), `<action id="`+bus.Name+"."+action+`">`) {
			t.Errorf("%s: polkit has no action %s", name, action)
		}
	}
	if len(table) != len(bus.Tables()[bus.ManagerFace]) {
		t.Error("the table authorises methods that do not exist")
	}
	// polkit lets only root and an action's owner ask what others may do, and the
	// daemon is not root.
	const owner = `<annotate key="org.freedesktop.policykit.owner">unix-user:accountlock</annotate>`
	if n := strings.Count(string(policy), "<action id="); n == 0 || strings.Count(string(policy), owner) != n {
		t.Error("an action does not name the daemon's user as its owner")
	}
	if strings.Contains(string(policy), "_keep<") {
		t.Error("polkit keeps an authorisation: its cache ignores which account is meant")
	}
}

func TestMemberNamesAreUniqueOnAnObject(t *testing.T) {
	// A call without an interface matches a member on any of them.
	seen := map[string]string{}
	for face, ms := range bus.Tables() {
		for name := range ms {
			if other, ok := seen[name]; ok && other != face {
				t.Errorf("%s is on %s and %s", name, face, other)
			}
			seen[name] = face
		}
	}
}

func TestThePropertiesAreThoseOfTheXML(t *testing.T) {
	for _, c := range []struct {
		source string
		have   map[string]dbus.Variant
	}{
		{packaged.ManagerXML, bus.ManagerProperties()},
		{packaged.FlowXML, bus.FlowProperties(flow.View{Methods: []string{}, Error: fault.New(fault.Timeout, nil)})},
		{packaged.FlowXML, bus.FlowProperties(flow.View{Methods: []string{}})},
	} {
		face := parse(t, c.source)
		if len(face.Properties) != len(c.have) {
			t.Errorf("%s: the XML has %d properties, the code %d", face.Name, len(face.Properties), len(c.have))
		}
		for _, p := range face.Properties {
			v, ok := c.have[p.Name]
			if !ok || v.Signature().String() != p.Type || p.Access != "read" {
				t.Errorf("%s.%s: the XML says %s %s, the code %s (%v)", face.Name, p.Name, p.Type, p.Access, v.Signature(), ok)
			}
		}
	}
}

func TestEveryFaultHasItsDBusName(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range fault.Codes() {
		name, message, remedy, _ := bus.ErrorProperty(fault.New(c, nil))
		if name != "org.accountlock.AccountLock1.Error."+string(c) || seen[name] || message == "" || remedy == "" {
			t.Errorf("%s: %q %q %q", c, name, message, remedy)
		}
		seen[name] = true
	}
	if name, message, remedy, counted := bus.ErrorProperty(nil); name+message+remedy != "" || counted {
		t.Error("no refusal must be an empty property")
	}
}

func TestOnlyFlowPathsAreFlows(t *testing.T) {
	root := string(bus.ManagerPath) + "/flow/"
	for path, want := range map[string]uint64{
		root + "1": 1, root + "42": 42, root + "0": 0, root + "01": 0, root + "+1": 0, root + "-1": 0, root: 0,
		root + "1/2": 0, root + "99999999999999999999999": 0, string(bus.ManagerPath): 0, "/": 0,
	} {
		if got := bus.FlowID(dbus.ObjectPath(path)); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

func TestUnknownOrMalformedOptionsAreErrors(t *testing.T) {
	for name, in := range map[string]map[string]dbus.Variant{
		"an unknown key":          {"lokale": dbus.MakeVariant("de")},
		"a number for a locale":   {"locale": dbus.MakeVariant(7)},
		"a locale with a newline": {"locale": dbus.MakeVariant("de\nDE")},
		"a long region":           {"region": dbus.MakeVariant("DEU")},
		"an unknown binary key":   {"\x00\xff": dbus.MakeVariant("x")},
	} {
		if _, err := bus.ReadOptions(lock.KindLink, in); fault.CodeOf(err) != fault.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	o, err := bus.ReadOptions(lock.KindLink, map[string]dbus.Variant{"locale": dbus.MakeVariant("de_DE.UTF-8"), "region": dbus.MakeVariant("DE")})
	if err != nil || o.Locale != "de_DE.UTF-8" || o.Region != "DE" {
		t.Errorf("%+v %v", o, err)
	}
}

// The list of ways is closed: a client may hold it so. What is new stands in the prompt.
func TestAWayThatIsNotOfTheListStandsInThePrompt(t *testing.T) {
	props := bus.FlowProperties(flow.View{Methods: []string{"password", "recover", "support"}})
	prompt := props["Prompt"].Value().(map[string]dbus.Variant)
	if got := props["Methods"].Value().([]string); !slices.Equal(got, []string{"password", "recover"}) {
		t.Errorf("Methods is %v", got)
	}
	if got, _ := prompt["other-ways"].Value().([]string); !slices.Equal(got, []string{"support"}) {
		t.Errorf("the prompt's other ways are %v", got)
	}
	if _, ok := bus.FlowProperties(flow.View{Methods: []string{"password"}})["Prompt"].Value().(map[string]dbus.Variant)["other-ways"]; ok {
		t.Error("a prompt names other ways where there are none")
	}
}
