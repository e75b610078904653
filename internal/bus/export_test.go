// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"io"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/lock"
)

// Row is one method as the table has it.
type Row struct{ In, Out string }

// Tables returns what the code answers, by interface and member.
func Tables() map[string]map[string]Row {
	out := map[string]map[string]Row{}
	for _, faces := range []map[string]map[string]method{managerFaces, flowFaces} {
		for face, ms := range faces {
			out[face] = map[string]Row{}
			for name, m := range ms {
				out[face][name] = Row{m.in, m.out}
			}
		}
	}
	return out
}

// Authority returns the authorisation table.
func Authority() map[string]string {
	out := map[string]string{}
	for k, v := range authority {
		out[k] = string(v)
	}
	return out
}

// ManagerProperties and FlowProperties return every property with its value.
func ManagerProperties() map[string]dbus.Variant { return managerProperties(flow.Snapshot{}, "v") }

// FlowProperties returns every property of a flow with its value.
func FlowProperties(v flow.View) map[string]dbus.Variant { return flowProperties(v) }

// ReadOptions, ReadInput and FlowID are the parsers of what a client sends.
func ReadOptions(kind lock.Kind, arg any) (flow.Options, error) { return options(kind, arg) }

// ReadInput parses an answer.
func ReadInput(arg any) (flow.Input, error) { return input(arg) }

// FlowID parses an object path.
func FlowID(p dbus.ObjectPath) uint64 { return flowID(p) }

// NewBounded wraps a stream that is past authentication.
func NewBounded(rwc io.ReadWriteCloser, dropped func(string, uint32)) io.ReadWriteCloser {
	b := newBounded(rwc, dropped)
	b.framed.Store(true)
	return b
}

// Options is what a flow is begun with.
func Options(kind lock.Kind, in map[string]dbus.Variant) (flow.Options, error) {
	return options(kind, in)
}

// IsLocale and IsRegion are the forms of these options.
func IsLocale(s string) bool { return isLocale(s) }

// IsRegion tells the form of a region.
func IsRegion(s string) bool { return isRegion(s) }

// Nodes returns what introspection says of the Manager and of a flow.
func Nodes() map[string]string {
	return map[string]string{ManagerFace: managerNode(), FlowFace: flowNode()}
}

// MaxBody is the bound on a message's body.
const MaxBody = maxBody

// ErrorProperty maps a fault to the property Error.
func ErrorProperty(f *fault.Error) (name, message, remedy string, counted bool) {
	p := toProperty(f, i18n.For(""))
	return p.Name, p.Message, p.Remedy, p.Counted
}
