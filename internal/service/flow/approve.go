// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/approval"
	"github.com/accountlock/accountlock/internal/service/device"
)

// Approvals are the requests to be opened from another device, as *approval.Service
// has them; the errors of each method are told there.
type Approvals interface {
	Ask(ctx context.Context, tx *sql.Tx, r approval.Request) (approval.Code, error)
	Poll(ctx context.Context, tx *sql.Tx, flowID string, l device.Link) (approval.Standing, error)
	End(ctx context.Context, tx *sql.Tx, flowID string) error
}

var _ Approvals = (*approval.Service)(nil)

// UseApprovals has the service offer approval from another device; before anything
// is answered.
func (s *Service) UseApprovals(a Approvals) { s.approvals = a }

// methods are the other ways that an unlock may go.
func (s *Service) methods() *[]string {
	if s.approvals == nil {
		return nil
	}
	return &[]string{string(accountapi.Approve)}
}

// approve begins to wait for the owner's word, or tells how it stands.
func (s *Service) approve(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	if s.approvals == nil {
		return accountapi.FlowStep{}, fault.New(fault.WrongStep, nil)
	}
	if f.Step != accountapi.Approve {
		return s.askApproval(ctx, f, req.Key, req.Caller, req.Address)
	}
	return s.pollApproval(ctx, f, req)
}

// askApproval leaves the flow at the step 'approve', with a new code.
func (s *Service) askApproval(ctx context.Context, f Flow, key string, c device.Caller, from netip.Addr) (accountapi.FlowStep, error) {
	f.AccountID, f.Hint, f.SentTo, f.Identifier, f.UseHint = "", "", "", "", false
	return s.change(ctx, f, key, func(tx *sql.Tx, f *Flow) (accountapi.FlowStep, error) {
		link, err := s.linkOf(ctx, tx, *f)
		if err != nil {
			return accountapi.FlowStep{}, err
		}
		code, err := s.approvals.Ask(ctx, tx, approval.Request{
			FlowID: f.ID, Link: link, NewKey: !c.Trusted(), Address: from, Region: f.Region,
		})
		if err != nil {
			return accountapi.FlowStep{}, err
		}
		f.Step, f.ExpiresAt = accountapi.Approve, s.now().Add(IdleTime)
		out, expires, pause := f.wire(), code.Expires.Unix(), seconds(code.Pause)
		out.VerificationUri, out.VerificationUriComplete, out.UserCode = &code.URI, &code.Complete, &code.UserCode
		out.Interval, out.Expires = &pause, &expires
		return out, nil
	})
}

// approveAgain is askApproval for a flow that is there already.
func (s *Service) approveAgain(ctx context.Context, f Flow, c device.Caller, from netip.Addr) (accountapi.FlowStep, error) {
	step, err := s.askApproval(ctx, f, "", c, from)
	if errors.Is(err, errOvertaken) {
		err = fault.New(fault.WrongStep, nil)
	}
	return step, err
}

// linkOf is the link that a flow is about. fails locked: another one since then is
// none.
func (s *Service) linkOf(ctx context.Context, tx *sql.Tx, f Flow) (device.Link, error) {
	link, err := device.NewestLink(ctx, tx, f.DeviceID)
	if err == nil && link.ID != f.LinkID {
		err = fault.New(fault.NotLinked, nil)
	}
	return link, err
}

// pollApproval answers how the owner's word stands; when it is yes, it is the change
// itself, like the right password.
func (s *Service) pollApproval(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	// An account that is blocked opens nothing, whatever was approved before.
	if id := req.Caller.Link.AccountID; id != "" {
		owner, err := s.accounts.Get(ctx, id)
		if err == nil {
			err = owner.Refusal(s.now())
		}
		if err != nil {
			return accountapi.FlowStep{}, err
		}
	}
	var at approval.Standing
	out, err := s.change(ctx, f, req.Key, func(tx *sql.Tx, f *Flow) (accountapi.FlowStep, error) {
		link, err := s.linkOf(ctx, tx, *f)
		if err != nil {
			return accountapi.FlowStep{}, err
		}
		if at, err = s.approvals.Poll(ctx, tx, f.ID, link); err != nil {
			return accountapi.FlowStep{}, err
		}
		if !at.Approved {
			f.ExpiresAt = s.now().Add(IdleTime)
			step, pause := f.wire(), seconds(at.Pause)
			step.Expires, step.Interval = nil, &pause
			return step, nil
		}
		if link, err = s.devices.UnlockLink(ctx, tx, f.DeviceID, f.LinkID, f.KeyID, device.NoticeApproved); err != nil {
			return accountapi.FlowStep{}, err
		}
		f.AccountID, f.Hint = link.AccountID, link.Hint
		f.Step, f.ExpiresAt = accountapi.Done, s.now().Add(KeepTime)
		return s.granted(*f, accountapi.ClaimsPurposeUnlock, link)
	})
	if err == nil && at.Early {
		// The longer pause is written: it is kept whatever the device makes of it.
		slow := fault.New(fault.RateLimited, nil)
		slow.RetryAfter = at.Pause
		return accountapi.FlowStep{}, slow
	}
	return out, err
}

// leaveApproval voids the code of a flow that was at 'approve' and is there no more.
func (s *Service) leaveApproval(ctx context.Context, tx *sql.Tx, before accountapi.StepName, now Flow) error {
	if before != accountapi.Approve || now.Step == accountapi.Approve || s.approvals == nil {
		return nil
	}
	return s.approvals.End(ctx, tx, now.ID)
}

func seconds(d time.Duration) int { return int(d / time.Second) }
