// SPDX-License-Identifier: Apache-2.0

package support

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/staff"
)

// Approve notes that a member approves of an action in a case. With the second
// member the deed is permitted: not before the time for objections is over, and for
// a day. The owner is told each time. Errors are faults: NotAuthorized (an auditor;
// who has approved already), InvalidArgument (no such action, or another than was approved of
// before), Declined (the device is lost; too few right answers), NotLinked, WrongStep.
func (s *Service) Approve(ctx context.Context, by staff.Member, number string, a Action) (Case, error) {
	if err := by.MayAct(); err != nil {
		return Case{}, err
	}
	if !slices.Contains(Actions(), a) {
		return Case{}, fault.Newf(fault.InvalidArgument, "Nobody can approve of %q: it is release, offline-code, ticket or found.", string(a)[:min(len(a), 40)])
	}
	return s.change(ctx, number, func(tx *sql.Tx, c Case) error {
		if err := c.MayBe(a); err != nil {
			return err
		}
		now := s.now()
		st := c.Standing(now, s.Wait)
		switch {
		case slices.Contains(st.By, by.Name):
			// fails shut: two members are two people.
			f := fault.Newf(fault.NotAuthorized, "You have approved already.")
			f.Remedy = "Another member of staff has to approve too."
			return f
		case st.Complete():
			return fault.Newf(fault.WrongStep, "The case is approved already.")
		case st.Action != "" && st.Action != a:
			return fault.Newf(fault.InvalidArgument, "The first approval is of something else: approve of that, or wait until it has run out.")
		}
		// A member's earlier approval that no longer counts gives way.
		_, err := tx.ExecContext(ctx, `INSERT INTO case_approvals (case_number, staff_id, action, generation, at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (case_number, staff_id) DO UPDATE SET action = excluded.action, generation = excluded.generation, at = excluded.at`,
			c.Number, by.ID, string(a), c.Link.Generation, now.UnixMilli())
		if err != nil {
			return err
		}
		if err := s.note(ctx, tx, c, by.Name, "case-approved", string(a)); err != nil {
			return err
		}
		kind := NoticeApproved
		if len(st.By)+1 == needed {
			kind = NoticeComplete
		}
		return s.tellOwner(ctx, tx, c, kind)
	})
}

// Act does what was approved of, and returns the offline code or the ticket, if it
// is one of those, for the challenge that the device shows. Everything happens in one
// transaction or not at all. Errors are faults: NotAuthorized (it is not approved of,
// no longer, or not yet: RetryAfter), what MayBe says, InvalidArgument (no challenge),
// and those of the deed.
func (s *Service) Act(ctx context.Context, by staff.Member, number string, a Action, challenge string) (string, Case, error) {
	if err := by.MayAct(); err != nil {
		return "", Case{}, err
	}
	var answer string
	c, err := s.change(ctx, number, func(tx *sql.Tx, c Case) error {
		if err := c.MayBe(a); err != nil {
			return err
		}
		if err := s.permitted(c, a); err != nil {
			return err
		}
		if challenge == "" {
			challenge = c.Challenge
		}
		var err error
		if answer, err = s.do(ctx, tx, c, a, challenge); err != nil {
			return err
		}
		return s.note(ctx, tx, c, by.Name, deeds[a], "")
	})
	if err != nil {
		return "", Case{}, err
	}
	return answer, c, nil
}

// deeds are what the audit trail calls them.
var deeds = map[Action]string{
	Release: "device-released", Found: "device-found", OfflineCode: "offline-code-given", Ticket: "ticket-given",
}

// permitted returns nil if an action may be done now. fails shut: whatever is not
// approved of by two, now, for the device as it stands, is not.
func (s *Service) permitted(c Case, a Action) error {
	now := s.now()
	st := c.Standing(now, s.Wait)
	switch {
	case st.Permits(now) && st.Action == a:
		return nil
	case st.Complete() && st.Action == a:
		f := fault.Newf(fault.NotAuthorized, "The owner can still object to it.")
		f.Remedy = "Come back when the time for objections is over; the approval lasts for a day from then."
		f.RetryAfter = st.From.Sub(now)
		return f
	}
	f := fault.Newf(fault.NotAuthorized, "This is not approved of by two members of staff.")
	f.Remedy = "Two different members approve of it in the case first."
	return f
}

func (s *Service) do(ctx context.Context, tx *sql.Tx, c Case, a Action, challenge string) (string, error) {
	switch a {
	case Release:
		if _, err := s.Devices.ReleaseLink(ctx, tx, c.DeviceID, device.NoticeReleased); err != nil {
			return "", err
		}
		return "", s.finish(ctx, tx, c, Released)
	case Found:
		if _, err := s.Devices.FindLink(ctx, tx, c.DeviceID); err != nil {
			return "", err
		}
		return "", s.finish(ctx, tx, c, FoundAgain)
	case OfflineCode, Ticket:
	}
	give := s.Offline.RespondIn
	if a == Ticket {
		give = s.Offline.TicketIn
	}
	answer, err := give(ctx, tx, c.DeviceID, challenge)
	if err != nil {
		return "", err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE cases SET answered = answered + 1 WHERE number = $1`, c.Number); err != nil {
		return "", err
	}
	if c.Given+1 < maxAnswered {
		return answer, nil
	}
	return answer, s.finish(ctx, tx, c, Answered)
}

// From is when the owner's time to object is over, for what tells the owner.
func (s *Service) From(c Case) time.Time { return s.Standing(c).From }
