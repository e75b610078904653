// SPDX-License-Identifier: Apache-2.0

package client

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
)

// Challenge implements flow.Registry.
func (c *Client) Challenge(ctx context.Context, creds flow.Credentials, claim flow.Claim) (flow.Challenge, error) {
	if creds.Key == nil {
		return flow.Challenge{}, fault.New(fault.Internal, errUnsigned)
	}
	text := base64.RawURLEncoding.EncodeToString
	body := accountapi.ChallengeRequest{
		Key: accountapi.NewJWK(creds.Key.Public()), EndorsementKey: text(claim.Endorsement), DeviceKey: text(claim.Key),
	}
	if len(claim.Certificate) > 0 {
		certificate := text(claim.Certificate)
		body.Certificate = &certificate
	}
	r, err := c.api.ChallengeDeviceWithResponse(with(ctx, creds), &accountapi.ChallengeDeviceParams{IdempotencyKey: newKey()}, body)
	if err != nil {
		return flow.Challenge{}, c.diagnose(ctx, err)
	}
	switch r.StatusCode() {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return flow.Challenge{}, fault.New(fault.InvalidArgument, errors.New("the account service makes no challenges"))
	}
	if r.JSON200 == nil {
		return flow.Challenge{}, c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	credential, err := base64.RawURLEncoding.DecodeString(r.JSON200.Credential)
	secret, serr := base64.RawURLEncoding.DecodeString(r.JSON200.Secret)
	if err != nil || serr != nil || len(credential) == 0 || len(credential) > 512 || len(secret) > 1024 {
		return flow.Challenge{}, c.malformed(r.HTTPResponse, "no challenge")
	}
	return flow.Challenge{Credential: credential, Secret: secret}, nil
}

// Enrol implements flow.Registry.
func (c *Client) Enrol(ctx context.Context, creds flow.Credentials, e flow.Enrolment) (string, bool, error) {
	if creds.Key == nil {
		return "", false, fault.New(fault.Internal, errUnsigned)
	}
	body := accountapi.EnrolRequest{Key: accountapi.NewJWK(creds.Key.Public()), Model: &e.Model}
	for _, id := range e.Identities {
		body.Identities = append(body.Identities, accountapi.Identity{Source: accountapi.IdentitySource(id.Source), Digest: id.Digest})
	}
	if len(e.Proof) > 0 {
		proof := base64.RawURLEncoding.EncodeToString(e.Proof)
		body.Proof = &proof
	}
	if e.Token != "" {
		body.EnrolmentToken = &e.Token
	}
	r, err := c.api.EnrolDeviceWithResponse(with(ctx, creds), &accountapi.EnrolDeviceParams{IdempotencyKey: newKey()}, body)
	if err != nil {
		return "", false, c.diagnose(ctx, err)
	}
	if r.JSON200 == nil {
		return "", false, c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	if id := r.JSON200.DeviceId; isDeviceName(id) {
		return id, r.JSON200.Identity == accountapi.Proven, nil
	}
	return "", false, c.malformed(r.HTTPResponse, "no device ID")
}

// State implements flow.Registry.
func (c *Client) State(ctx context.Context, creds flow.Credentials, linkID string, n flow.Nonce) (lock.Statement, error) {
	body := accountapi.StatementRequest{Nonce: string(n)}
	if linkID != "" {
		body.LinkId = &linkID
	}
	r, err := c.api.StateDeviceWithResponse(with(ctx, creds), creds.ID, &accountapi.StateDeviceParams{IdempotencyKey: newKey()}, body)
	if onDates(err) {
		// Nothing secret is sent, and what comes is signed: its time says whether the
		// clock is wrong or the certificate.
		ctx = withoutDates(ctx)
		r, err = c.api.StateDeviceWithResponse(with(ctx, creds), creds.ID, &accountapi.StateDeviceParams{IdempotencyKey: newKey()}, body)
	}
	if err != nil {
		return lock.Statement{}, c.diagnose(ctx, err)
	}
	if r.JSON200 == nil {
		return lock.Statement{}, c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	return c.statement(ctx, r.JSON200.Statement, creds.ID, n)
}

// caseNumber is what is shown and read out of a case's number.
var caseNumber = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z -]{0,31}$`)

// OpenCase implements flow.Cases.
func (c *Client) OpenCase(ctx context.Context, creds flow.Credentials, k flow.Case) (string, error) {
	var body accountapi.CaseRequest
	for value, into := range map[*string]**string{&k.Challenge: &body.Challenge, &k.Locale: &body.Locale, &k.Region: &body.Region} {
		if *value != "" {
			*into = value
		}
	}
	r, err := c.api.OpenCaseWithResponse(with(ctx, creds), creds.ID, &accountapi.OpenCaseParams{IdempotencyKey: newKey()}, body)
	if err != nil {
		return "", c.diagnose(ctx, err)
	}
	if r.JSON200 == nil {
		return "", c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	if !caseNumber.MatchString(r.JSON200.CaseNumber) {
		return "", c.malformed(r.HTTPResponse, "no case number")
	}
	return r.JSON200.CaseNumber, nil
}

// Begin implements flow.Conversation.
func (c *Client) Begin(ctx context.Context, creds flow.Credentials, b flow.Begin) (flow.Remote, error) {
	body := accountapi.BeginRequest{Kind: accountapi.FlowKind(b.Kind), DeviceId: creds.ID, Nonce: string(b.Nonce)}
	if b.Kind == lock.KindRecover {
		body.Open = &b.Open
	}
	for value, into := range map[*string]**string{&b.LinkID: &body.LinkId, &b.Locale: &body.Locale, &b.Region: &body.Region} {
		if *value != "" {
			*into = value
		}
	}
	r, err := c.api.BeginFlowWithResponse(with(ctx, creds), &accountapi.BeginFlowParams{IdempotencyKey: newKey()}, body)
	if err != nil {
		return flow.Remote{}, c.diagnose(ctx, err)
	}
	if r.JSON200 == nil {
		return flow.Remote{}, c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	return c.remote(ctx, creds.ID, b.Nonce, nil, r.JSON200, r.HTTPResponse)
}

// Answer implements flow.Conversation.
func (c *Client) Answer(ctx context.Context, creds flow.Credentials, flowID string, a flow.Answer) (flow.Remote, error) {
	body := accountapi.FlowAnswer{Step: accountapi.StepName(a.Step)}
	if a.Identifier != "" {
		body.Identifier = &a.Identifier
	}
	if a.UseHint {
		body.UseHint = &a.UseHint
	}
	if len(a.Password) > 0 {
		s := accountapi.Secret(a.Password)
		body.Password = &s
	}
	if len(a.Code) > 0 {
		s := accountapi.Secret(a.Code)
		body.Code = &s
	}
	if a.Captcha != "" {
		body.Captcha = &a.Captcha
	}
	if a.Confirm {
		body.Confirm = &a.Confirm
	}
	if a.Nonce != "" {
		n := string(a.Nonce)
		body.Nonce = &n
	}
	var offline *offlineKey
	if a.AgreeOffline {
		var err error
		if offline, err = newOfflineKey(); err != nil {
			return flow.Remote{}, fault.New(fault.Internal, err)
		}
		body.OfflineKey = &offline.public
	}
	r, err := c.api.AnswerFlowWithResponse(with(ctx, creds), flowID, &accountapi.AnswerFlowParams{IdempotencyKey: cmp.Or(a.Key, newKey())}, body)
	if err != nil {
		return flow.Remote{}, c.diagnose(ctx, err)
	}
	if r.JSON200 == nil {
		return flow.Remote{}, c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	return c.remote(ctx, creds.ID, a.Nonce, offline, r.JSON200, r.HTTPResponse)
}

// Resend implements flow.Conversation.
func (c *Client) Resend(ctx context.Context, creds flow.Credentials, flowID string) (flow.Remote, error) {
	r, err := c.api.ResendCodeWithResponse(with(ctx, creds), flowID, &accountapi.ResendCodeParams{IdempotencyKey: newKey()})
	if err != nil {
		return flow.Remote{}, c.diagnose(ctx, err)
	}
	if r.JSON200 == nil {
		return flow.Remote{}, c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	return c.remote(ctx, creds.ID, "", nil, r.JSON200, r.HTTPResponse)
}

// End implements flow.Conversation.
func (c *Client) End(ctx context.Context, creds flow.Credentials, flowID string) error {
	r, err := c.api.EndFlowWithResponse(with(ctx, creds), flowID, &accountapi.EndFlowParams{IdempotencyKey: newKey()})
	if err != nil {
		return c.diagnose(ctx, err)
	}
	if r.StatusCode() != http.StatusNoContent {
		return c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	return nil
}

// remote verifies everything signed in a step over the nonce that was sent. offline
// is the key that was sent too, if one was.
func (c *Client) remote(ctx context.Context, deviceID string, n flow.Nonce, offline *offlineKey, s *accountapi.FlowStep, resp *http.Response) (flow.Remote, error) {
	out := flow.Remote{
		FlowID: s.FlowId, Step: string(s.Step),
		SentTo: accountapi.Plain(value(s.SentTo), 254), Captcha: accountapi.Plain(value(s.Captcha), maxCaptcha), Receipt: value(s.Receipt),
	}
	if s.Expires != nil {
		out.Expires = *s.Expires
	}
	if s.Until != nil {
		out.Until = *s.Until
	}
	if !isToken(out.FlowID) || len(out.Step) > 32 || len(value(s.Captcha)) > maxCaptcha {
		return flow.Remote{}, c.malformed(resp, "a step out of bounds")
	}
	if !approval(s, &out) {
		return flow.Remote{}, c.malformed(resp, "an approval out of bounds")
	}
	if s.Grant != nil {
		claims, err := c.claims(ctx, *s.Grant, accountapi.TypeGrant, deviceID, n)
		if err != nil {
			return flow.Remote{}, err
		}
		out.Grant = grant(claims)
		if out.Grant.OfflineKey, err = offline.agree(claims); err != nil {
			return flow.Remote{}, err
		}
	}
	if s.Statement != nil {
		st, err := c.statement(ctx, *s.Statement, deviceID, n)
		if err != nil {
			return flow.Remote{}, err
		}
		out.Statement = &st
	}
	if s.Receipt != nil && !c.receiptHolds(ctx, out.Receipt, deviceID) {
		// It is for others to read; what was done does not hang on it.
		out.Receipt = ""
	}
	return out, nil
}

func (c *Client) receiptHolds(ctx context.Context, receipt, deviceID string) bool {
	claims, err := c.open(ctx, receipt, accountapi.TypeStatement)
	return err == nil && claims.Aud == deviceID && claims.Purpose == accountapi.ClaimsPurposeReceipt
}

// What the API's document says of names; they go into paths, files and D-Bus.
const (
	nameDigits  = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's base 32
	tokenDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	maxToken    = 64
)

// isDeviceName reports whether s is a device ID: three groups of four digits.
func isDeviceName(s string) bool {
	groups := strings.Split(s, "-")
	return len(groups) == 3 && !slices.ContainsFunc(groups, func(g string) bool {
		return len(g) != 4 || strings.TrimLeft(g, nameDigits) != ""
	})
}

// isToken reports whether s is an identifier of the service's own.
func isToken(s string) bool {
	return len(s) > 0 && len(s) <= maxToken && strings.TrimLeft(s, tokenDigits) == ""
}

const (
	maxCaptcha = 8192
	// maxTime is the end of the year 9999, in seconds since the epoch: the floor
	// of the trusted time is never moved beyond where it could be of use.
	maxTime = 253402300799
	// maxLifetime is a day, a ticket's; what answers a nonce of the network lives
	// as long as that nonce.
	maxLifetime = 24 * 3600
)

func linkFits(l *accountapi.LinkClaim) bool {
	return l == nil || (isToken(l.Id) && l.Generation >= 1 && (l.AccountId == nil || isToken(*l.AccountId)))
}

// claims verifies one signed word for this device and this nonce.
func (c *Client) claims(ctx context.Context, word, typ, deviceID string, n flow.Nonce) (accountapi.Claims, error) {
	claims, err := c.open(ctx, word, typ)
	if err != nil {
		return claims, c.diagnose(ctx, err)
	}
	switch {
	case claims.Aud != deviceID:
		err = fmt.Errorf("it is for another device")
	case n == "" || value(claims.Nonce) != string(n):
		err = fmt.Errorf("it answers another nonce")
	case claims.Iat <= 0 || claims.Iat > maxTime || claims.Exp > maxTime:
		err = fmt.Errorf("it was signed outside of time")
	case claims.Exp <= claims.Iat:
		err = fmt.Errorf("it was never valid")
	case !linkFits(claims.Link), claims.Ended != nil && !isToken(*claims.Ended):
		err = fmt.Errorf("its claims are out of bounds")
	}
	if err != nil {
		return claims, fault.New(fault.GrantRefused, fmt.Errorf("cannot use what the account service signed: %w", err))
	}
	return claims, nil
}

func (c *Client) statement(ctx context.Context, word, deviceID string, n flow.Nonce) (lock.Statement, error) {
	claims, err := c.claims(ctx, word, accountapi.TypeStatement, deviceID, n)
	if err != nil {
		return lock.Statement{}, err
	}
	if claims.Purpose != "statement" || claims.Status == nil {
		return lock.Statement{}, fault.New(fault.GrantRefused, fmt.Errorf("cannot use a word of purpose %q as a statement", claims.Purpose))
	}
	st := lock.Statement{
		Status: lock.LinkStatus(*claims.Status), Link: link(claims.Link),
		Ended: value(claims.Ended), Hint: accountapi.Plain(value(claims.Hint), 254), Time: claims.Iat,
	}
	if claims.Lost != nil {
		st.LostMessage, st.LostContact = accountapi.Plain(value(claims.Lost.Message), 500), accountapi.Plain(value(claims.Lost.Contact), 200)
	}
	// A link that is in force has a name: otherwise nothing could end it again.
	if st.Link.ID == "" && st.Status != lock.StatusUnlinked && st.Status != lock.StatusAccountDeleted {
		return lock.Statement{}, fault.New(fault.GrantRefused, fmt.Errorf("cannot use the statement %q without a link", st.Status))
	}
	return st, nil
}

func grant(c accountapi.Claims) *flow.Grant {
	g := &flow.Grant{
		Purpose: string(c.Purpose), Link: link(c.Link), Hint: accountapi.Plain(value(c.Hint), 254),
		Time: c.Iat, Lifetime: time.Duration(min(c.Exp-c.Iat, maxLifetime)) * time.Second,
	}
	if c.Link != nil {
		g.AccountID = value(c.Link.AccountId)
	}
	return g
}

func link(l *accountapi.LinkClaim) lock.Link {
	if l == nil {
		return lock.Link{}
	}
	return lock.Link{ID: l.Id, Generation: uint64(max(l.Generation, 0))}
}

func (c *Client) malformed(resp *http.Response, what string) error {
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	f := c.unpromised(&statusError{status: status, failure: diagnose.Garbled})
	f.Err = fmt.Errorf("the account service's answer (%d) is not what the API promises: %s", status, what)
	return f
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
