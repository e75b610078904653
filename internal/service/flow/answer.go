// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/device"
)

// Request is one answer to a flow's step, as a device that may give it sent it.
type Request struct {
	FlowID string
	// Key is the idempotency key: an answer that was given under it before, to
	// the end, is given again.
	Key    string
	Answer accountapi.FlowAnswer
	// Caller is the device that signed the request.
	Caller device.Caller
	// Address is where the request came from.
	Address netip.Addr
}

// Answer takes in an answer and returns the next step and the flow's kind. Besides what the accounts
// and the link refuse, its faults are WrongStep, InvalidArgument, Timeout and
// WrongAccount. The secrets in the request are wiped by who read them.
func (s *Service) Answer(ctx context.Context, req Request) (accountapi.FlowStep, accountapi.FlowKind, error) {
	for try := 1; ; try++ {
		f, err := s.read(ctx, req.FlowID)
		if err != nil {
			return accountapi.FlowStep{}, "", err
		}
		step, err := s.answer(ctx, f, req)
		switch {
		case !errors.Is(err, errOvertaken):
			return step, f.Kind, err
		case try == maxTries || guesses(req.Answer.Step):
			// What counts guesses is not tried again on somebody else's behalf.
			return accountapi.FlowStep{}, f.Kind, fault.New(fault.WrongStep, nil)
		}
	}
}

// maxTries bounds how often an answer is taken in anew that another one overtook.
const maxTries = 3

func (s *Service) answer(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	if f.answerKey != "" && f.answerKey == req.Key {
		return f.again()
	}
	if err := Accepts(f.Step, req.Answer.Step, f.Committed); err != nil {
		return accountapi.FlowStep{}, err
	}
	if f.Kind == accountapi.FlowKindRecover && req.Answer.Step == accountapi.Password ||
		f.Kind != accountapi.FlowKindUnlock && req.Answer.Step == accountapi.Approve {
		return accountapi.FlowStep{}, fault.New(fault.WrongStep, nil)
	}
	if n := value(req.Answer.Nonce); n != "" {
		f.Nonce = n
	}
	switch req.Answer.Step {
	case accountapi.Identify:
		return s.identify(ctx, f, req)
	case accountapi.Password:
		return s.password(ctx, f, req)
	case accountapi.Code:
		return s.code(ctx, f, req)
	case accountapi.Captcha:
		return s.captchaAnswer(ctx, f, req)
	case accountapi.Confirm:
		return s.confirm(ctx, f, req)
	case accountapi.Approve:
		return s.approve(ctx, f, req)
	case accountapi.Wait:
		return s.wait(ctx, f, req)
	case accountapi.NewPassword:
		return s.newPassword(ctx, f, req)
	default:
		return s.commit(ctx, f, req)
	}
}

func (s *Service) identify(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	typed, hinted := strings.TrimSpace(value(req.Answer.Identifier)), req.Answer.UseHint != nil && *req.Answer.UseHint
	switch {
	case hinted == (typed != ""):
		return accountapi.FlowStep{}, fault.Newf(fault.InvalidArgument, "Give an identifier, or use_hint, and not both.")
	case hinted && f.LinkID == "" && !req.Caller.Link.Status.InForce():
		return accountapi.FlowStep{}, fault.Newf(fault.InvalidArgument, "There is no account to use the hint of.")
	}
	f.Identifier, f.UseHint = typed, hinted
	f.AccountID, f.Hint, f.SentTo = "", "", ""
	if f.Kind == accountapi.FlowKindRecover {
		return s.askCaptcha(ctx, f, req.Key)
	}
	f.Step, f.ExpiresAt = accountapi.Password, s.now().Add(IdleTime)
	return s.store(ctx, f, req.Key, f.wire())
}

func (s *Service) password(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	if req.Answer.Password == nil || len(*req.Answer.Password) == 0 {
		return accountapi.FlowStep{}, fault.Newf(fault.InvalidArgument, "The answer holds no password.")
	}
	a := account.Attempt{
		Identifier: f.Identifier, Password: *req.Answer.Password, DeviceID: f.DeviceID,
		Locked: f.Kind == accountapi.FlowKindUnlock, Address: req.Address, Region: f.Region, Locale: f.Locale,
	}
	if f.UseHint {
		a.AccountID = req.Caller.Link.AccountID
	}
	owner, err := s.authenticate(ctx, f, a)
	if fault.CodeOf(err) == fault.CaptchaRequired {
		return s.askCaptcha(ctx, f, req.Key)
	}
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	if (f.Kind != accountapi.FlowKindLink || req.Caller.Link.Status.Binds()) && owner.ID != req.Caller.Link.AccountID {
		return accountapi.FlowStep{}, wrongAccount(req.Caller)
	}
	f.AccountID, f.Hint = owner.ID, owner.Hint()
	return s.second(ctx, f, owner, req)
}

// sendCode leaves the flow at the step 'code'.
func (s *Service) sendCode(ctx context.Context, f Flow, to account.Account, key string) (accountapi.FlowStep, error) {
	sentTo, expires, err := s.accounts.SendCode(ctx, to, f.ID, string(f.Kind), f.Locale)
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	f.Step, f.SentTo, f.ExpiresAt = accountapi.Code, sentTo, s.now().Add(IdleTime)
	out := f.wire()
	if until := expires.Unix(); until < *out.Expires {
		out.Expires = &until
	}
	return s.store(ctx, f, key, out)
}

// wrongAccount does not count: the password was right, and nothing was guessed. It
// names the account that the device belongs to, masked, to whoever
// holds the device's own key; a key that is still pending may be a stranger's.
func wrongAccount(c device.Caller) error {
	f := fault.New(fault.WrongAccount, nil)
	if c.Trusted() {
		f.Hint = c.Link.Hint
	}
	return f
}

func (s *Service) code(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	if req.Answer.Code == nil || len(*req.Answer.Code) == 0 {
		return accountapi.FlowStep{}, fault.Newf(fault.InvalidArgument, "The answer holds no code.")
	}
	if f.Kind == accountapi.FlowKindRecover {
		return s.recoveryCode(ctx, f, req)
	}
	if err := s.checkSecond(ctx, f, *req.Answer.Code); err != nil {
		return accountapi.FlowStep{}, err
	}
	return s.proven(ctx, f, req)
}

// Resend sends the code of the current step again, or makes a new captcha or a new
// code to approve by, for a device that asks from an address. A flow at another step
// is fault.WrongStep.
func (s *Service) Resend(ctx context.Context, flowID string, caller device.Caller, from netip.Addr) (accountapi.FlowStep, error) {
	f, err := s.read(ctx, flowID)
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	if f.Step == accountapi.Captcha {
		return s.captchaStep(f)
	}
	if f.Step == accountapi.Approve {
		return s.approveAgain(ctx, f, caller, from)
	}
	if f.Step != accountapi.Code {
		return accountapi.FlowStep{}, fault.New(fault.WrongStep, nil)
	}
	if f.Kind == accountapi.FlowKindRecover {
		at, err := s.recoveries.Resend(ctx, f.ID)
		if err != nil {
			return accountapi.FlowStep{}, err
		}
		return s.stand(ctx, f, "", at)
	}
	owner, err := s.accounts.Get(ctx, f.AccountID)
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	if err := s.maySend(ctx, owner); err != nil {
		return accountapi.FlowStep{}, err
	}
	step, err := s.sendCode(ctx, f, owner, "")
	if errors.Is(err, errOvertaken) {
		err = fault.New(fault.WrongStep, nil)
	}
	return step, err
}

// proven gives a flow whose account is proven its next step, with the grant that
// belongs to it. Of an unlock this is the change itself.
func (s *Service) proven(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	f.Step = AfterProof(f.Kind)
	return s.change(ctx, f, req.Key, func(tx *sql.Tx, f *Flow) (accountapi.FlowStep, error) {
		now := s.now()
		switch f.Step {
		case accountapi.Done:
			link, err := s.devices.UnlockLink(ctx, tx, f.DeviceID, f.LinkID, f.KeyID, device.NoticeUnlocked)
			if err != nil {
				return accountapi.FlowStep{}, err
			}
			f.ExpiresAt = now.Add(KeepTime)
			return s.granted(*f, accountapi.ClaimsPurposeUnlock, link)
		case accountapi.Confirm:
			f.ExpiresAt = now.Add(IdleTime)
			if f.Kind == accountapi.FlowKindReset {
				return f.wire(), nil // the grant comes with the person's last word
			}
			return s.granted(*f, accountapi.ClaimsPurposeRehearsal, device.Link{})
		default:
			link, err := device.NewestLink(ctx, tx, f.DeviceID)
			if err != nil {
				return accountapi.FlowStep{}, err
			}
			if link.ID != f.LinkID {
				return accountapi.FlowStep{}, fault.New(fault.NotLinked, nil)
			}
			if err := device.May(link.Status, changes[f.Kind]); err != nil {
				return accountapi.FlowStep{}, err
			}
			f.ExpiresAt = now.Add(CommitTime)
			return s.granted(*f, purposes[f.Kind], link)
		}
	})
}

// place is the network that a request comes from. The machine's own is none: whoever
// is on it tries a service out.
func place(a netip.Addr) string {
	if a.Unmap().IsLoopback() {
		return ""
	}
	return account.Network(a)
}

func (s *Service) confirm(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	if req.Answer.Confirm == nil || !*req.Answer.Confirm {
		return accountapi.FlowStep{}, fault.Newf(fault.InvalidArgument, "The answer does not confirm; to decline, end the flow.")
	}
	return s.change(ctx, f, req.Key, func(tx *sql.Tx, f *Flow) (accountapi.FlowStep, error) {
		if f.Kind == accountapi.FlowKindReset {
			return s.allowReset(ctx, tx, f)
		}
		link, err := s.devices.Reserve(ctx, tx, f.DeviceID, device.Owner{
			AccountID: f.AccountID, Hint: f.Hint, KeyID: f.KeyID, Place: place(req.Address),
		})
		if err != nil {
			return accountapi.FlowStep{}, err
		}
		f.Step, f.LinkID, f.ExpiresAt = accountapi.Commit, link.ID, link.ReservedUntil
		if req.Answer.OfflineKey == nil {
			return s.granted(*f, accountapi.ClaimsPurposeLink, link)
		}
		public, err := s.offline.Agree(ctx, tx, link, *req.Answer.OfflineKey)
		if err != nil {
			return accountapi.FlowStep{}, err
		}
		return s.granted(*f, accountapi.ClaimsPurposeLink, link, func(c *accountapi.Claims) { c.OfflineKey = &public })
	})
}

// allowReset permits the reset of the device, within the transaction of the answer.
func (s *Service) allowReset(ctx context.Context, tx *sql.Tx, f *Flow) (accountapi.FlowStep, error) {
	link, err := s.devices.AllowReset(ctx, tx, f.DeviceID, f.LinkID)
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	f.Step, f.ExpiresAt = accountapi.Done, s.now().Add(KeepTime)
	return s.granted(*f, accountapi.ClaimsPurposeReset, link)
}

// commit changes the link, or, where that was done before, says again how it
// stands.
func (s *Service) commit(ctx context.Context, f Flow, req Request) (accountapi.FlowStep, error) {
	nonce := value(req.Answer.Nonce)
	if nonce == "" {
		return accountapi.FlowStep{}, fault.Newf(fault.InvalidArgument, "The answer holds no nonce for the statement.")
	}
	return s.change(ctx, f, req.Key, func(tx *sql.Tx, f *Flow) (accountapi.FlowStep, error) {
		link, err := s.committed(ctx, tx, *f)
		if err != nil {
			return accountapi.FlowStep{}, err
		}
		f.Step = accountapi.Done
		if !f.Committed {
			f.Committed, f.ExpiresAt = true, s.now().Add(KeepTime)
		}
		out := f.wire()
		statement, err := s.sign(device.State(f.DeviceID, link, f.LinkID, true), nonce, GrantTime)
		if err != nil {
			return accountapi.FlowStep{}, err
		}
		out.Statement = &statement
		if f.Kind == accountapi.FlowKindUnlink {
			receipt, err := s.receipt(ctx, tx, *f)
			if err != nil {
				return accountapi.FlowStep{}, err
			}
			out.Receipt = &receipt
		}
		return out, nil
	})
}

// committed does what the flow is about, once, and returns the device's newest
// link as it stands then.
func (s *Service) committed(ctx context.Context, tx *sql.Tx, f Flow) (device.Link, error) {
	switch {
	case f.Committed:
		return device.NewestLink(ctx, tx, f.DeviceID)
	case f.Kind == accountapi.FlowKindLink:
		return s.devices.CommitLink(ctx, tx, f.DeviceID, f.LinkID, f.KeyID)
	case f.Kind == accountapi.FlowKindSignOut:
		return s.devices.SignOutLink(ctx, tx, f.DeviceID, f.LinkID)
	default:
		return s.devices.UnlinkLink(ctx, tx, f.DeviceID, f.LinkID)
	}
}

// granted returns the flow's step with a grant over its nonce. The zero Link is
// left out; with adds to the claims.
func (s *Service) granted(f Flow, purpose accountapi.ClaimsPurpose, link device.Link, with ...func(*accountapi.Claims)) (accountapi.FlowStep, error) {
	c := accountapi.Claims{Aud: f.DeviceID, Purpose: purpose}
	if link.ID != "" {
		c.Link = &accountapi.LinkClaim{Id: link.ID, Generation: link.Generation}
	}
	if purpose == accountapi.ClaimsPurposeUnlock || purpose == accountapi.ClaimsPurposeLink {
		c.Link.AccountId = &f.AccountID
	}
	if f.Hint != "" {
		c.Hint = &f.Hint
	}
	for _, add := range with {
		add(&c)
	}
	grant, err := s.sign(c, f.Nonce, GrantTime)
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	out := f.wire()
	out.Grant = &grant
	return out, nil
}

// receipt says, for as long as anyone may want to read it, that the flow's link
// has ended.
func (s *Service) receipt(ctx context.Context, tx *sql.Tx, f Flow) (string, error) {
	generation, err := device.Generation(ctx, tx, f.LinkID)
	if err != nil {
		return "", err
	}
	status := accountapi.ClaimsStatusUnlinked
	return s.sign(accountapi.Claims{
		Aud: f.DeviceID, Purpose: accountapi.ClaimsPurposeReceipt, Status: &status,
		Link: &accountapi.LinkClaim{Id: f.LinkID, Generation: generation},
	}, "", receiptTime)
}

// store writes the flow with its next step.
func (s *Service) store(ctx context.Context, f Flow, key string, step accountapi.FlowStep) (accountapi.FlowStep, error) {
	return s.change(ctx, f, key, func(*sql.Tx, *Flow) (accountapi.FlowStep, error) { return step, nil })
}

// change runs do in a transaction that also writes the flow, as do leaves it, and
// keeps the answer.
func (s *Service) change(ctx context.Context, f Flow, key string, do func(*sql.Tx, *Flow) (accountapi.FlowStep, error)) (accountapi.FlowStep, error) {
	var out accountapi.FlowStep
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		// The transaction may run again: it starts from f each time.
		next := f
		step, err := do(tx, &next)
		if fault.CodeOf(err) != fault.Internal && err != nil {
			// It may be refused because another answer came first.
			return cmp.Or(unchanged(ctx, tx, f), err)
		}
		if err != nil {
			return err
		}
		if err := next.remember(key, step); err != nil {
			return err
		}
		if err := s.leaveApproval(ctx, tx, f.was, next); err != nil {
			return err
		}
		out = step
		return save(ctx, tx, next)
	})
	if err != nil {
		return accountapi.FlowStep{}, err
	}
	return out, nil
}

// again returns the answer that the flow remembers.
func (f Flow) again() (accountapi.FlowStep, error) {
	var step accountapi.FlowStep
	if err := json.Unmarshal([]byte(f.answer), &step); err != nil {
		return accountapi.FlowStep{}, fmt.Errorf("cannot read a kept answer: %w", err)
	}
	return step, nil
}
