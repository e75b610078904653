// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"math"
	"slices"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/i18n"
)

// Properties are served here and not by godbus's prop package, since what a
// flow shows depends on who asks, which that package does not pass on.

// properties returns the readable properties of the object that is called.
func (s *Server) properties(c *call, face string) (map[string]dbus.Variant, error) {
	switch {
	case c.flow != nil && (face == FlowFace || face == ""):
		return flowProperties(c.flow.View()), nil
	case c.flow == nil && (face == ManagerFace || face == ""):
		return managerProperties(s.keeper().Snapshot(), s.Version), nil
	case face == propsFace || face == introspectFace || face == objectsFace:
		return map[string]dbus.Variant{}, nil
	default:
		return nil, errUnknown("Interface", face)
	}
}

func (s *Server) getProperty(c *call) ([]any, error) {
	face, _ := c.args[0].(string)
	name, _ := c.args[1].(string)
	all, err := s.properties(c, face)
	if err != nil {
		return nil, err
	}
	v, ok := all[name]
	if !ok {
		return nil, errUnknown("Property", name)
	}
	return []any{v}, nil
}

func (s *Server) getAllProperties(c *call) ([]any, error) {
	face, _ := c.args[0].(string)
	all, err := s.properties(c, face)
	if err != nil {
		return nil, err
	}
	return []any{all}, nil
}

// setProperty refuses: state is changed by methods, which are authorised.
func (s *Server) setProperty(c *call) ([]any, error) {
	if _, err := s.getProperty(c); err != nil {
		return nil, err
	}
	return nil, dbus.NewError("org.freedesktop.DBus.Error.PropertyReadOnly", []any{"The property is read-only."})
}

func managerProperties(n flow.Snapshot, version string) map[string]dbus.Variant {
	out := managerChanging(n)
	out["Version"] = dbus.MakeVariant(version)
	return out
}

// managerChanging are the properties that PropertiesChanged tells of.
func managerChanging(n flow.Snapshot) map[string]dbus.Variant {
	lost := map[string]string{}
	if n.LostMessage != "" || n.LostContact != "" {
		lost["message"], lost["contact"] = n.LostMessage, n.LostContact
	}
	return map[string]dbus.Variant{
		"DeviceId":     dbus.MakeVariant(n.DeviceID),
		"State":        dbus.MakeVariant(string(n.Status.State)),
		"LockReason":   dbus.MakeVariant(string(n.Status.Reason)),
		"AccountHint":  dbus.MakeVariant(n.Hint),
		"LostMessage":  dbus.MakeVariant(lost),
		"RetryAfter":   dbus.MakeVariant(uint32(min(math.Ceil(n.RetryAfter.Seconds()), math.MaxUint32))),
		"Connectivity": dbus.MakeVariant(string(n.Connectivity)),
		"LastCheckIn":  dbus.MakeVariant(uint64(max(n.LastCheckIn, 0))),
	}
}

func flowProperties(v flow.View) map[string]dbus.Variant {
	out := flowChanging(v)
	out["Kind"] = dbus.MakeVariant(string(v.Kind))
	return out
}

// listed are the values of Methods. A client may know no other one: what came later
// stands in the prompt, which may grow.
var listed = []string{"password", "approve", "offline-code", "recovery-code", "recover"}

// flowChanging are the properties that PropertiesChanged tells of.
func flowChanging(v flow.View) map[string]dbus.Variant {
	prompt := promptMap(v.Prompt, i18n.For(v.Locale))
	methods, others := []string{}, []string{}
	for _, m := range v.Methods {
		if slices.Contains(listed, m) {
			methods = append(methods, m)
		} else {
			others = append(others, m)
		}
	}
	if len(others) > 0 {
		prompt["other-ways"] = dbus.MakeVariant(others)
	}
	return map[string]dbus.Variant{
		"Step":     dbus.MakeVariant(string(v.Step)),
		"Prompt":   dbus.MakeVariant(prompt),
		"Methods":  dbus.MakeVariant(methods),
		"Progress": dbus.MakeVariant(v.Progress),
		"Error":    dbus.MakeVariant(toProperty(v.Error, i18n.For(v.Locale))),
	}
}
