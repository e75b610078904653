// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/flow"
)

// Bounds on calls in progress; one more is answered LimitsExceeded at once.
const (
	maxCallsPerSender = 64
	maxCalls          = 256
)

// call is one method call that fits its signature.
type call struct {
	ctx         context.Context
	sender      string
	path        dbus.ObjectPath
	args        []any
	interactive bool
	flow        *flow.Flow // for objects below flow/
}

// method is one row of the table.
type method struct {
	in  string // D-Bus signature of the arguments
	out string
	// time bounds the call; 0 is callTime.
	time time.Duration
	run  func(*Server, *call) ([]any, error)
}

const callTime = 12 * time.Second

// router is the one way in. godbus would otherwise call whatever method of an
// exported value has the right name, each in a goroutine of its own without bound
// or recover; here what no table lists does not exist.
type router struct {
	s *Server

	mu    sync.Mutex
	calls map[string]int
	all   int
}

var (
	_ dbus.Handler         = (*router)(nil)
	_ dbus.ServerObject    = (*object)(nil)
	_ dbus.Interface       = (*face)(nil)
	_ dbus.Method          = (*entry)(nil)
	_ dbus.ArgumentDecoder = (*entry)(nil)
)

// object is one object path.
type object struct {
	r    *router
	path dbus.ObjectPath
	// faces are the interfaces there, by name.
	faces map[string]map[string]method
}

// LookupObject implements dbus.Handler. Which flows exist is told to nobody
// but their owners, so every well-formed flow path is an object here.
func (r *router) LookupObject(path dbus.ObjectPath) (dbus.ServerObject, bool) {
	switch {
	case path == ManagerPath:
		return &object{r, path, managerFaces}, true
	case isFlow(path):
		return &object{r, path, flowFaces}, true
	case path == "/" || path == flowRoot || strings.HasPrefix(string(ManagerPath), string(path)+"/"):
		return &object{r, path, nodeFaces}, true
	default:
		return nowhere(path), true
	}
}

func isFlow(path dbus.ObjectPath) bool { return flowID(path) != 0 }

// flowID returns the number at the end of a flow's path, 0 for any other path.
func flowID(path dbus.ObjectPath) uint64 {
	n, ok := strings.CutPrefix(string(path), string(flowRoot)+"/")
	if !ok || n == "" || n[0] == '0' || n[0] == '+' {
		return 0
	}
	id, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return 0
	}
	return id
}

func flowPath(f *flow.Flow) dbus.ObjectPath {
	return flowRoot + dbus.ObjectPath("/"+strconv.FormatUint(f.ID, 10))
}

// LookupInterface implements dbus.ServerObject. A call without an interface
// matches the member on any of the object's (D-Bus specification, 'Message
// Format'); names are unique on an object, and authorisation is the method's.
func (o *object) LookupInterface(name string) (dbus.Interface, bool) {
	if name == "" {
		all := map[string]method{}
		for _, ms := range o.faces {
			for member, m := range ms {
				all[member] = m
			}
		}
		return &face{o, all}, true
	}
	ms, ok := o.faces[name]
	return &face{o, ms}, ok
}

type face struct {
	o       *object
	methods map[string]method
}

// LookupMethod implements dbus.Interface.
func (f *face) LookupMethod(name string) (dbus.Method, bool) {
	m, ok := f.methods[name]
	return &entry{f.o, m, name}, ok
}

type entry struct {
	o      *object
	m      method
	member string
}

// DecodeArguments implements dbus.ArgumentDecoder: it compares signatures and
// keeps sender and flags.
func (e *entry) DecodeArguments(conn *dbus.Conn, sender string, msg *dbus.Message, body []any) ([]any, error) {
	got := ""
	if v, ok := msg.Headers[dbus.FieldSignature]; ok {
		sig, _ := v.Value().(dbus.Signature)
		got = sig.String()
	}
	if got != e.m.in {
		return nil, errInvalidArgs(fmt.Sprintf("%s takes (%s), not (%s)", e.member, e.m.in, got))
	}
	c := &call{
		ctx: conn.Context(), sender: sender, path: e.o.path, args: body,
		interactive: msg.Flags&dbus.FlagAllowInteractiveAuthorization != 0,
	}
	return []any{c}, nil
}

// Call implements dbus.Method: bound, deadline, recover, then the method.
func (e *entry) Call(args ...any) (out []any, err error) {
	c, ok := args[0].(*call)
	if !ok {
		return nil, errInvalidArgs("no call")
	}
	s := e.o.r.s
	if err := e.o.r.enter(c.sender); err != nil {
		return nil, err
	}
	defer e.o.r.leave(c.sender)
	defer func() {
		if p := recover(); p != nil {
			// The stack holds no argument values that are secret: those are bytes.
			s.log.Error("panic in a call", "member", e.member, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			out, err = nil, toDBus(fmt.Errorf("panic in %s", e.member), s.log, c.tongue())
		}
	}()
	s.touch()
	limit := e.m.time
	if limit == 0 {
		limit = callTime
	}
	ctx, cancel := context.WithTimeout(c.ctx, limit)
	defer cancel()
	c.ctx = ctx
	if isFlow(c.path) {
		if c.flow, err = s.ownFlow(c); err != nil {
			return nil, toDBus(err, s.log, c.tongue())
		}
	}
	out, err = e.m.run(s, c)
	if err != nil {
		return nil, toDBus(err, s.log, c.tongue())
	}
	return out, nil
}

func (r *router) enter(sender string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= maxCalls || r.calls[sender] >= maxCallsPerSender {
		return errLimits("Too many calls at once; wait for the answers to those under way.")
	}
	r.calls[sender]++
	r.all++
	return nil
}

func (r *router) leave(sender string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all--
	if r.calls[sender]--; r.calls[sender] == 0 {
		delete(r.calls, sender)
	}
}

// nowhere is a path at which there is nothing. godbus would answer NoSuchObject, a
// name that D-Bus does not have and no other library knows.
type nowhere dbus.ObjectPath

var (
	_ dbus.ServerObject    = nowhere("")
	_ dbus.Interface       = nowhere("")
	_ dbus.Method          = nowhere("")
	_ dbus.ArgumentDecoder = nowhere("")
)

// LookupInterface implements dbus.ServerObject.
func (n nowhere) LookupInterface(string) (dbus.Interface, bool) { return n, true }

// LookupMethod implements dbus.Interface.
func (n nowhere) LookupMethod(string) (dbus.Method, bool) { return n, true }

// DecodeArguments implements dbus.ArgumentDecoder, and refuses every call.
func (n nowhere) DecodeArguments(*dbus.Conn, string, *dbus.Message, []any) ([]any, error) {
	return nil, errUnknown("Object", string(n))
}

// Call implements dbus.Method; no call gets so far.
func (n nowhere) Call(...any) ([]any, error) { return nil, errUnknown("Object", string(n)) }

// NumArguments implements dbus.Method.
func (nowhere) NumArguments() int { return 0 }

// NumReturns implements dbus.Method.
func (nowhere) NumReturns() int { return 0 }

// ArgumentValue implements dbus.Method.
func (nowhere) ArgumentValue(int) any { return nil }

// ReturnValue implements dbus.Method.
func (nowhere) ReturnValue(int) any { return nil }

// The rest of dbus.Method is for godbus's own decoding, which entry replaces.

// NumArguments implements dbus.Method.
func (e *entry) NumArguments() int { return 0 }

// NumReturns implements dbus.Method.
func (e *entry) NumReturns() int { return 0 }

// ArgumentValue implements dbus.Method.
func (e *entry) ArgumentValue(int) any { return nil }

// ReturnValue implements dbus.Method.
func (e *entry) ReturnValue(int) any { return nil }
