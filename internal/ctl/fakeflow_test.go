// SPDX-License-Identifier: Apache-2.0

package ctl_test

import (
	"slices"
	"sync"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
)

type fakeField struct {
	Name, Type string
	Required   bool
}

// fakeStep is one step of a flow.
type fakeStep struct {
	name    string
	prompt  map[string]any
	fields  []fakeField
	methods []string
	// progress is what each reading finds, one after the other; after the last
	// one the step is over.
	progress []float64
	// answer refuses an answer; nil takes any.
	answer func(values) *fault.Error
	// err is what Error says at this step.
	err *fault.Error
	// enter runs once when the step begins.
	enter func(*fakeDaemon)
}

// fakeFlow goes through its steps; a method of Choose leads to another list.
type fakeFlow struct {
	d    *fakeDaemon
	path dbus.ObjectPath
	// owner is the connection that began it.
	owner string
	kind  string

	steps []fakeStep
	ways  map[string][]fakeStep
	// refuseWay is what Choose says, and Error after it.
	refuseWay *fault.Error
	outcome   string
	result    values
	// silent sends no signal at all; resent counts Resend.
	silent bool

	mu        sync.Mutex
	at        int
	read      int
	finished  bool
	cancelled bool
	resent    int
	last      *fault.Error
}

func (f *fakeFlow) export() {
	const iface = fakeName + ".Flow"
	f.d.exports(f.path, iface, map[string]any{
		"Submit": f.submit, "Choose": f.choose, "Cancel": f.cancel, "Resend": f.resend,
	})
	f.d.exports(f.path, "org.freedesktop.DBus.Properties", map[string]any{"GetAll": f.getAll, "Get": f.get})
}

func (f *fakeFlow) get(iface, name string) (dbus.Variant, *dbus.Error) {
	all, err := f.getAll(iface)
	return all[name], err
}

func (f *fakeFlow) getAll(string) (values, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.steps[f.at]
	prompt := values{}
	for k, v := range s.prompt {
		prompt[k] = dbus.MakeVariant(v)
	}
	prompt["fields"] = dbus.MakeVariant(append([]fakeField{}, s.fields...))
	progress := -1.0
	if f.read < len(s.progress) {
		progress = s.progress[f.read]
		f.read++
		if f.read == len(s.progress) {
			f.next()
		}
		f.changed()
	}
	last := struct {
		Name, Message, Remedy string
		Counted               bool
	}{}
	if e := f.last; e != nil {
		last.Name, last.Message, last.Remedy, last.Counted = fakeErrors+string(e.Code), e.Message, e.Remedy, e.Counted
	}
	if e := s.err; e != nil {
		last.Name, last.Message, last.Remedy, last.Counted = fakeErrors+string(e.Code), e.Message, e.Remedy, e.Counted
	}
	return values{
		"Kind": dbus.MakeVariant(f.kind), "Step": dbus.MakeVariant(s.name),
		"Prompt": dbus.MakeVariant(prompt), "Methods": dbus.MakeVariant(slices.Clone(s.methods)),
		"Progress": dbus.MakeVariant(progress), "Error": dbus.MakeVariant(last),
	}, nil
}

// next goes on to the next step; the caller holds the lock.
func (f *fakeFlow) next() {
	f.at++
	f.read, f.last = 0, nil
	s := f.steps[f.at]
	if s.enter != nil {
		s.enter(f.d)
	}
	f.end(s)
}

func (f *fakeFlow) end(s fakeStep) {
	if s.name != "done" && s.name != "failed" {
		return
	}
	f.finished = true
	if !f.silent {
		_ = unicast(f.d.conn, f.owner, f.path, fakeName+".Flow.Finished", f.outcome, f.result)
	}
}

func (f *fakeFlow) changed() {
	if !f.silent {
		_ = unicast(f.d.conn, f.owner, f.path, "org.freedesktop.DBus.Properties.PropertiesChanged",
			fakeName+".Flow", values{}, []string{"Progress"})
	}
}

func (f *fakeFlow) submit(msg dbus.Message, answer values) *dbus.Error {
	f.d.saw("Submit", answer, msg)
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.steps[f.at]
	if len(s.fields) == 0 {
		return refusal(fault.New(fault.WrongStep, nil))
	}
	if s.answer != nil {
		if e := s.answer(answer); e != nil {
			f.last = e
			return refusal(e)
		}
	}
	f.next()
	f.changed()
	return nil
}

func (f *fakeFlow) choose(msg dbus.Message, method string) *dbus.Error {
	f.d.saw("Choose", values{"method": dbus.MakeVariant(method)}, msg)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuseWay != nil {
		f.last = f.refuseWay
		return refusal(f.last)
	}
	steps, ok := f.ways[method]
	if !ok {
		return refusal(fault.Newf(fault.InvalidArgument, "The way %q is not open now.", method))
	}
	f.steps, f.at, f.read, f.last = steps, 0, 0, nil
	f.changed()
	return nil
}

func (f *fakeFlow) resend() *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.resent++
	return nil
}

func (f *fakeFlow) resentTimes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.resent
}

func (f *fakeFlow) cancel() *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.steps[f.at].name == "working" {
		return refusal(fault.New(fault.WrongStep, nil))
	}
	f.cancelled = true
	return nil
}

func (f *fakeFlow) wasCancelled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cancelled
}
