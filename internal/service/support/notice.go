// SPDX-License-Identifier: Apache-2.0

package support

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/calendar"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/letter"
)

// StopPath is the page that the owner's notices lead to.
const StopPath = "/support/stop"

// Tells reports whether a notice is one of this package's.
func Tells(n device.Notice) bool { return notices[n.Kind].subject != "" }

// notices are what the owner reads: {1} is the device, {2} the case's number, {3}
// the address to stop it, {4} when the deed is permitted from.
var notices = map[device.NoticeKind]struct{ subject, text, sms string }{
	NoticeOpened: {
		letter.Mark("Support opened a case about your device"),
		letter.Mark("Somebody asked support for help with the device {1}, which is locked to your account. Support opened case {2} and will ask about your account. If this was you, have the number of the case ready.\n\nIf it was not you, stop the case: {3}\n"),
		letter.Mark("Support opened case {2} about your device {1}. Not you? Stop it: {3}"),
	},
	NoticeApproved: {
		letter.Mark("A member of support wants to help with your device"),
		letter.Mark("In case {2}, a first member of support approved of opening or releasing the device {1}. A second one has to approve before anything happens.\n\nIf you did not ask for this, stop the case: {3}\n"),
		letter.Mark("Support case {2}, device {1}: a first approval was given. Not you? Stop it: {3}"),
	},
	NoticeComplete: {
		letter.Mark("Support is about to open or release your device"),
		letter.Mark("In case {2}, two members of support approved of opening or releasing the device {1}. It can be done from {4} on.\n\nIf you did not ask for this, stop the case before then: {3}\n"),
		letter.Mark("Support case {2}, device {1}: approved, to be done from {4} on. Not you? Stop it: {3}"),
	},
}

// Tell tells the owner of a case, at every e-mail address, or by SMS where there is
// none. A case that is closed by then is not told of. Its errors mean: try again.
func (s *Service) Tell(ctx context.Context, n device.Notice) error {
	words, ok := notices[n.Kind]
	if !ok {
		return fmt.Errorf("cannot send a notice of kind %q", n.Kind)
	}
	c, err := s.Get(ctx, n.Detail)
	if fault.CodeOf(err) == fault.InvalidArgument {
		return nil
	}
	if err != nil {
		return err
	}
	a, err := s.Accounts.Get(ctx, n.AccountID)
	if errors.Is(err, account.ErrNotFound) || c.Outcome != Open {
		// Nobody is left to be told, or nothing to be stopped.
		return nil
	}
	if err != nil {
		return err
	}
	t := letter.For(a.Locale, c.Locale)
	values := []string{n.Name(), c.Number, s.StopURL(c.Number), t.Moment(local(s.From(c), c.Region))}
	var errs []error
	for _, to := range addresses(a) {
		m := account.Message{To: to.Address, Channel: account.ChannelEmail, Subject: t.T(words.subject), Text: t.T(words.text, values...)}
		if to.Kind == account.KindPhone {
			m = account.Message{To: to.Address, Channel: account.ChannelSMS, Text: t.T(words.sms, values...)}
		}
		errs = append(errs, s.Notifier.Send(ctx, m))
	}
	return errors.Join(errs...)
}

// StopURL is the address by which the owner stops a case.
func (s *Service) StopURL(number string) string {
	q := url.Values{"case": {number}, "code": {s.stopCode(number)}}
	return strings.TrimSuffix(s.PublicURL, "/") + StopPath + "?" + q.Encode()
}

// local is a time in a region's zone, UTC where there is none.
func local(at time.Time, region string) time.Time {
	if c, err := calendar.For(region); err == nil {
		return c.Local(at)
	}
	return at.UTC()
}

// addresses are where an owner is told: every e-mail address, or else every number.
func addresses(a account.Account) (out []account.Identifier) {
	for _, kind := range []account.Kind{account.KindEmail, account.KindPhone} {
		for _, id := range a.Identifiers {
			if id.Kind == kind {
				out = append(out, id)
			}
		}
		if len(out) > 0 {
			break
		}
	}
	return out
}
