// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"reflect"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/flow"
)

// emit sends a signal, to one connection where to is not empty.
func (s *Server) emit(to string, path dbus.ObjectPath, face, member string, body ...any) {
	h := map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath:      dbus.MakeVariant(path),
		dbus.FieldInterface: dbus.MakeVariant(face),
		dbus.FieldMember:    dbus.MakeVariant(member),
	}
	if to != "" {
		h[dbus.FieldDestination] = dbus.MakeVariant(to)
	}
	if len(body) > 0 {
		h[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	if c := s.conn.Send(&dbus.Message{Type: dbus.TypeSignal, Headers: h, Body: body}, nil); c != nil && c.Err != nil {
		s.log.Warn("cannot send a signal", "member", member, "error", c.Err)
	}
}

// changedOnly returns what differs between two sets of properties.
func changedOnly(old, now map[string]dbus.Variant) map[string]dbus.Variant {
	out := map[string]dbus.Variant{}
	for k, v := range now {
		if !reflect.DeepEqual(old[k].Value(), v.Value()) {
			out[k] = v
		}
	}
	return out
}

// StateChanged implements flow.Observer.
func (s *Server) StateChanged(old, now flow.Snapshot) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if d := changedOnly(managerChanging(old), managerChanging(now)); len(d) > 0 {
		s.emit("", ManagerPath, propsFace, "PropertiesChanged", ManagerFace, d, []string{})
	}
	switch was, is := old.Status.Open(), now.Status.Open(); {
	case was && !is, !is && old.Status.Reason != now.Status.Reason:
		s.emit("", ManagerPath, ManagerFace, "Locked", string(now.Status.Reason))
	case !was && is:
		how := "account"
		if now.Status != (statusLinked) {
			how = "statement"
		}
		s.emit("", ManagerPath, ManagerFace, "Unlocked", how)
	}
	if now.RetryAfter > 0 && old.RetryAfter != now.RetryAfter {
		s.announceEndOf(now.RetryAfter)
	}
}

// announceEndOf tells that a wait is over when it is. s.sending is held.
func (s *Server) announceEndOf(d time.Duration) {
	if s.wait != nil {
		s.wait.Stop()
	}
	s.wait = time.AfterFunc(d, func() {
		s.sending.Lock()
		defer s.sending.Unlock()
		v := managerChanging(s.keeper().Snapshot())["RetryAfter"]
		s.emit("", ManagerPath, propsFace, "PropertiesChanged", ManagerFace, map[string]dbus.Variant{"RetryAfter": v}, []string{})
	})
}

// flowAdded tells a flow's owner, and nobody else, that it is there.
func (s *Server) flowAdded(f *flow.Flow) {
	s.sending.Lock()
	defer s.sending.Unlock()
	v := f.View()
	s.shown[f.ID] = v
	s.emit(f.Owner, ManagerPath, objectsFace, "InterfacesAdded", flowPath(f),
		map[string]map[string]dbus.Variant{FlowFace: flowProperties(v)})
}

// FlowChanged implements flow.Observer. A flow taken up after a restart has no
// owner, and no secret in its prompt: everybody is told.
func (s *Server) FlowChanged(f *flow.Flow) {
	s.sending.Lock()
	defer s.sending.Unlock()
	now := f.View()
	old, known := s.shown[f.ID]
	if !known && f.Owner != "" {
		return // not announced yet, or gone
	}
	s.shown[f.ID] = now
	if d := changedOnly(flowChanging(old), flowChanging(now)); len(d) > 0 {
		s.emit(f.Owner, flowPath(f), propsFace, "PropertiesChanged", FlowFace, d, []string{})
	}
}

// FlowFinished implements flow.Observer.
func (s *Server) FlowFinished(f *flow.Flow, o flow.Outcome) {
	s.sending.Lock()
	defer s.sending.Unlock()
	result := map[string]dbus.Variant{"state": dbus.MakeVariant(string(o.State))}
	if o.Receipt != "" {
		result["receipt"] = dbus.MakeVariant(o.Receipt)
	}
	s.emit(f.Owner, flowPath(f), FlowFace, "Finished", o.Word, result)
}

// FlowRemoved implements flow.Observer.
func (s *Server) FlowRemoved(f *flow.Flow) {
	s.sending.Lock()
	delete(s.shown, f.ID)
	s.emit(f.Owner, ManagerPath, objectsFace, "InterfacesRemoved", flowPath(f), []string{FlowFace})
	s.sending.Unlock()
	if !s.Flows.Owners(f.Owner) {
		s.owners.forget(f.Owner)
	}
}

func (s *Server) getManagedObjects(c *call) ([]any, error) {
	out := map[dbus.ObjectPath]map[string]map[string]dbus.Variant{}
	for _, f := range s.Flows.List(c.sender) {
		out[flowPath(f)] = map[string]map[string]dbus.Variant{FlowFace: flowProperties(f.View())}
	}
	return []any{out}, nil
}
