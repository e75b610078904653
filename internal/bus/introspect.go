// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/lock"
	packaged "github.com/accountlock/accountlock/packaging/dbus"
)

var statusLinked = lock.Status{State: lock.Linked}

// The interfaces that D-Bus itself defines (D-Bus Specification, 'Standard
// Interfaces'). As text, since godbus's introspect and prop packages bring an XML
// encoder that would be resident in every daemon.
const (
	doctype = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
`
	introspectableXML = `  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="out" type="s" direction="out"/>
    </method>
  </interface>
`
	peerXML = `  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
`
	propertiesXML = `  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface" type="s" direction="in"/>
      <arg name="props" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface" type="s" direction="in"/>
      <arg name="property" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
`
	objectManagerXML = `  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
`
)

// introspect serves the packaged XML, so that arguments have their names, with
// the standard interfaces and the children that the caller may see.
func (s *Server) introspect(c *call) ([]any, error) {
	switch {
	case c.flow != nil:
		return []any{flowNode()}, nil
	case c.path == ManagerPath:
		return []any{managerNode()}, nil
	case c.path == flowRoot:
		var flows strings.Builder
		for _, f := range s.Flows.List(c.sender) {
			flows.WriteString(child(strconv.FormatUint(f.ID, 10)))
		}
		return []any{node(introspectableXML, flows.String())}, nil
	default:
		return []any{node(introspectableXML, child(nextOf(c.path)))}, nil
	}
}

func managerNode() string {
	return node(introspectableXML, peerXML, propertiesXML, objectManagerXML, inner(packaged.ManagerXML), child("flow"))
}

func flowNode() string {
	return node(introspectableXML, peerXML, propertiesXML, inner(packaged.FlowXML))
}

// node is the document of an object.
func node(parts ...string) string {
	return doctype + "<node>\n" + strings.Join(parts, "") + "</node>\n"
}

// child is an object below: its name is a number or a folder of a path of ours.
func child(name string) string { return `  <node name="` + name + "\"/>\n" }

// inner is the interface out of a document.
func inner(document string) string {
	begin, end := strings.Index(document, "<interface "), strings.LastIndex(document, "</node>")
	return "  " + document[begin:end]
}

// nextOf returns the first folder below path on the way to the Manager.
func nextOf(path dbus.ObjectPath) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(string(ManagerPath), string(path)), "/")
	next, _, _ := strings.Cut(rest, "/")
	return next
}
