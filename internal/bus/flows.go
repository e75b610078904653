// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/secret"
)

// ownFlow returns the flow that a call is for, if the caller may see it. That
// it exists, and that it is somebody else's, sound the same.
func (s *Server) ownFlow(c *call) (*flow.Flow, error) {
	f := s.Flows.Get(flowID(c.path))
	if f == nil || (f.Owner != c.sender && f.Owner != "") {
		return nil, dbus.NewError("org.freedesktop.DBus.Error.UnknownObject", []any{"No such flow of yours."})
	}
	return f, nil
}

// input turns an a{sv} into an answer. Values of other types stay as they are,
// for the flow to refuse by name.
func input(arg any) (flow.Input, error) {
	in, ok := arg.(map[string]dbus.Variant)
	if !ok {
		return nil, errInvalidArgs("the answer is no a{sv}")
	}
	out := flow.Input{}
	for key, v := range in {
		switch t := v.Value().(type) {
		case []byte:
			out[key] = secret.Bytes(t)
		default:
			out[key] = t
		}
	}
	return out, nil
}

func (s *Server) submit(c *call) ([]any, error) {
	in, err := input(c.args[0])
	if err != nil {
		return nil, err
	}
	defer in.Wipe()
	return nil, c.flow.Submit(c.ctx, in)
}

func (s *Server) choose(c *call) ([]any, error) {
	method, _ := c.args[0].(string)
	return nil, c.flow.Choose(c.ctx, method)
}

func (s *Server) resend(c *call) ([]any, error) { return nil, c.flow.Resend(c.ctx) }

func (s *Server) cancel(c *call) ([]any, error) {
	if c.flow.Owner == "" {
		return nil, fault.New(fault.WrongStep, nil)
	}
	return nil, c.flow.Cancel()
}

// field is one field of a prompt, (ssb).
type field struct {
	Name     string
	Type     string
	Required bool
}

// promptMap is the property Prompt, in the person's language: what the step does
// not need is left out.
func promptMap(p flow.Prompt, lang *i18n.Printer) map[string]dbus.Variant {
	fields := []field{}
	for _, f := range p.Fields {
		fields = append(fields, field(f))
	}
	out := map[string]dbus.Variant{
		"title":  dbus.MakeVariant(lang.Say(p.Title)),
		"text":   dbus.MakeVariant(lang.Say(p.Text)),
		"fields": dbus.MakeVariant(fields),
	}
	for key, s := range map[string]string{
		"account-hint": p.AccountHint, "captcha": p.Captcha, "sent-to": p.SentTo, "recovery-code": p.RecoveryCode,
		"challenge": p.Challenge, "case-number": p.CaseNumber, "uri": p.URI, "uri-complete": p.URIComplete, "user-code": p.UserCode,
	} {
		if s != "" {
			out[key] = dbus.MakeVariant(s)
		}
	}
	if len(p.Consequences) > 0 {
		said := make([]string, len(p.Consequences))
		for i, c := range p.Consequences {
			said[i] = lang.Say(c)
		}
		out["consequences"] = dbus.MakeVariant(said)
	}
	if len(p.Waits) > 0 {
		waits := map[string]uint64{}
		for way, t := range p.Waits {
			waits[way] = uint64(max(t, 0))
		}
		out["waits"] = dbus.MakeVariant(waits)
	}
	if len(p.RecoveryGroups) > 0 {
		out["recovery-groups"] = dbus.MakeVariant(p.RecoveryGroups)
	}
	for key, t := range map[string]int64{"expires": p.Expires, "until": p.Until} {
		if t > 0 {
			out[key] = dbus.MakeVariant(uint64(t))
		}
	}
	return out
}

// tongue is the language of the flow that a call is for; English for any other.
func (c *call) tongue() *i18n.Printer {
	if c.flow == nil {
		return i18n.For("")
	}
	return i18n.For(c.flow.View().Locale)
}
