// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"errors"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

// isLocale reports whether s looks like a locale or a language tag: two to eight
// letters, and up to four parts behind them, as in de_AT.UTF-8 or zh-Hans.
func isLocale(s string) bool {
	const maxParts, minFirst, maxFirst, maxPart = 4, 2, 8, 12
	part, length := 0, 0
	fits := func() bool {
		return part == 0 && length >= minFirst && length <= maxFirst || part > 0 && part <= maxParts && length > 0 && length <= maxPart
	}
	for _, r := range s {
		switch {
		case r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', r >= '0' && r <= '9' && part > 0:
			length++
		case strings.ContainsRune("-_.@", r) && fits():
			part, length = part+1, 0
		default:
			return false
		}
	}
	return fits()
}

// isPlain reports whether s is the locale of somebody who has set none: the C library
// calls it C or POSIX, with an encoding or without one.
func isPlain(s string) bool {
	name, _, _ := strings.Cut(s, ".")
	return s == "" || name == "C" && len(s) <= len("C.UTF-8") || s == "POSIX"
}

// isRegion reports whether s looks like a country's code (ISO 3166-1).
func isRegion(s string) bool {
	return len(s) == 2 && strings.TrimLeft(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// options reads the a{sv} that a flow is begun with. What is not known is an
// error: a client that misspells must not believe that it was understood.
func options(kind lock.Kind, arg any) (flow.Options, error) {
	var o flow.Options
	in, ok := arg.(map[string]dbus.Variant)
	if !ok {
		return o, errInvalidArgs("the options are no a{sv}")
	}
	for key, v := range in {
		s, isString := v.Value().(string)
		b, isBool := v.Value().(bool)
		switch {
		case key == "unlink" && kind == lock.KindReset && isBool:
			o.Unlink = b
		case key == "locale" && isString && isPlain(s):
			o.Locale = ""
		case key == "locale" && isString && isLocale(s):
			o.Locale = s
		case key == "region" && isString && (s == "" || isRegion(s)):
			o.Region = s
		case key == "locale" || key == "region" || key == "unlink" && kind == lock.KindReset:
			return o, fault.Newf(fault.InvalidArgument, "The option %q has no valid value.", key)
		default:
			return o, fault.Newf(fault.InvalidArgument, "There is no such option: %.40q.", key)
		}
	}
	return o, nil
}

// begin is the handler of a method that begins a flow, in the order: validate,
// look at the state, authorise, look at the state again, act.
func begin(member string, kind lock.Kind) func(*Server, *call) ([]any, error) {
	return func(s *Server, c *call) ([]any, error) {
		o, err := options(kind, c.args[0])
		if err != nil {
			return nil, err
		}
		if err := s.Flows.MayBegin(kind); errors.Is(err, flow.ErrNoReset) {
			return nil, dbus.NewError("org.freedesktop.DBus.Error.NotSupported", []any{happened(fault.As(err))})
		} else if err != nil {
			return nil, err
		}
		if err := s.allow(c, member); err != nil {
			return nil, err
		}
		if err := s.owners.watch(c); err != nil {
			return nil, err
		}
		f, err := s.Flows.Begin(c.sender, kind, o)
		if err != nil {
			return nil, err
		}
		// Once more: the last flow before this one may have ended in between, and
		// the watch with it.
		if err := s.owners.watch(c); err != nil {
			s.Flows.OwnerGone(c.sender)
			return nil, err
		}
		s.flowAdded(f)
		return []any{flowPath(f)}, nil
	}
}

func (s *Server) getAccount(c *call) ([]any, error) {
	if err := accountState(s.keeper().Snapshot()); err != nil {
		return nil, err
	}
	if err := s.allow(c, "GetAccount"); err != nil {
		return nil, err
	}
	now := s.keeper().Snapshot()
	if err := accountState(now); err != nil {
		return nil, err
	}
	identifiers := []string{}
	if now.Hint != "" {
		identifiers = append(identifiers, now.Hint)
	}
	signedIn := uint64(0)
	if now.Status.State == lock.Linked && now.LinkedAt > 0 {
		signedIn = uint64(now.LinkedAt)
	}
	return []any{map[string]dbus.Variant{
		"account-id":  dbus.MakeVariant(now.AccountID),
		"identifiers": dbus.MakeVariant(identifiers),
		"signed-in":   dbus.MakeVariant(signedIn),
		"link-id":     dbus.MakeVariant(now.LinkID),
	}}, nil
}

func accountState(s flow.Snapshot) error {
	switch s.Status.State {
	case lock.Linked, lock.SignedOut:
		return nil
	case lock.Unlinked:
		return fault.New(fault.NotLinked, nil)
	default:
		return fault.New(fault.Locked, nil)
	}
}

// contact is one row of GetSupport, (sss).
type contact struct{ Kind, Label, Address string }

func (s *Server) getSupport(c *call) ([]any, error) {
	region, _ := c.args[0].(string)
	if region != "" && !isRegion(region) {
		return nil, fault.Newf(fault.InvalidArgument, "The region must be two capital letters (ISO 3166-1), or empty.")
	}
	if err := asked(s.asks); err != nil {
		return nil, err
	}
	list, err := s.Support.Support(c.ctx, region)
	if err != nil {
		return nil, err
	}
	out := []contact{}
	for _, r := range list {
		out = append(out, contact(r))
	}
	return []any{out}, nil
}

// factRow is one row of Explain, (ssa{sv}).
type factRow struct {
	Fact, Source string
	Details      map[string]dbus.Variant
}

func (s *Server) explain(*call) ([]any, error) {
	out := []factRow{}
	for _, f := range s.Reporter.Explain() {
		out = append(out, factRow{f.Name, f.Source, variants(f.Details)})
	}
	return []any{out}, nil
}

// checkRow is one row of Diagnose, (sssa{sv}).
type checkRow struct {
	Check, Result, Message string
	Details                map[string]dbus.Variant
}

func (s *Server) diagnose(c *call) ([]any, error) {
	out := []checkRow{}
	for _, r := range s.Reporter.Diagnose(c.ctx, s.asks.take() == 0) {
		out = append(out, checkRow{r.Name, r.Result, r.Message, variants(r.Details)})
	}
	return []any{out}, nil
}

func variants(in map[string]string) map[string]dbus.Variant {
	out := make(map[string]dbus.Variant, len(in))
	for k, v := range in {
		out[k] = dbus.MakeVariant(v)
	}
	return out
}

func (s *Server) checkIn(c *call) ([]any, error) {
	if err := s.allow(c, "CheckIn"); err != nil {
		return nil, err
	}
	if err := asked(s.checks); err != nil {
		return nil, err
	}
	return nil, s.Flows.CheckIn(c.ctx)
}

// asked takes one question to the account service out of b.
func asked(b *bucket) error {
	d := b.take()
	if d == 0 {
		return nil
	}
	e := fault.New(fault.RateLimited, nil)
	e.Message, e.RetryAfter = "The account service was asked often enough for the moment.", d
	return e
}
