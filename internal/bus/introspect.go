// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"encoding/xml"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/godbus/dbus/v5/prop"

	"github.com/accountlock/accountlock/internal/lock"
	packaged "github.com/accountlock/accountlock/packaging/dbus"
)

var statusLinked = lock.Status{State: lock.Linked}

var objectManagerData = introspect.Interface{
	Name: objectsFace,
	Methods: []introspect.Method{{Name: "GetManagedObjects", Args: []introspect.Arg{
		{Name: "objects", Type: "a{oa{sa{sv}}}", Direction: "out"},
	}}},
	Signals: []introspect.Signal{
		{Name: "InterfacesAdded", Args: []introspect.Arg{{Name: "object", Type: "o"}, {Name: "interfaces", Type: "a{sa{sv}}"}}},
		{Name: "InterfacesRemoved", Args: []introspect.Arg{{Name: "object", Type: "o"}, {Name: "interfaces", Type: "as"}}},
	},
}

// introspect serves the packaged XML, so that arguments have their names, with
// the standard interfaces and the children that the caller may see.
func (s *Server) introspect(c *call) ([]any, error) {
	node := introspect.Node{Interfaces: []introspect.Interface{introspect.IntrospectData}}
	switch {
	case c.flow != nil:
		own, err := described(packaged.FlowXML)
		if err != nil {
			return nil, err
		}
		node.Interfaces = append(own, introspect.IntrospectData, introspect.PeerData, prop.IntrospectData)
	case c.path == ManagerPath:
		own, err := described(packaged.ManagerXML)
		if err != nil {
			return nil, err
		}
		node.Interfaces = append(own, introspect.IntrospectData, introspect.PeerData, prop.IntrospectData, objectManagerData)
		node.Children = []introspect.Node{{Name: "flow"}}
	case c.path == flowRoot:
		for _, f := range s.Flows.List(c.sender) {
			node.Children = append(node.Children, introspect.Node{Name: strconv.FormatUint(f.ID, 10)})
		}
	default:
		node.Children = []introspect.Node{{Name: nextOf(c.path)}}
	}
	out, err := xml.Marshal(node)
	if err != nil {
		return nil, err
	}
	return []any{introspect.IntrospectDeclarationString + string(out)}, nil
}

// nextOf returns the first folder below path on the way to the Manager.
func nextOf(path dbus.ObjectPath) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(string(ManagerPath), string(path)), "/")
	next, _, _ := strings.Cut(rest, "/")
	return next
}

func described(source string) ([]introspect.Interface, error) {
	var n introspect.Node
	if err := xml.Unmarshal([]byte(source), &n); err != nil {
		return nil, err
	}
	return n.Interfaces, nil
}
