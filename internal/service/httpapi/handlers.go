// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/attest"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/flow"
	"github.com/accountlock/accountlock/internal/service/stub"
)

// handlers answers the calls of the account API; who asks, and whether the
// request is as it should be, was settled before.
type handlers struct{ *Server }

var _ stub.StrictServerInterface = handlers{}

// EnrolDevice implements stub.StrictServerInterface.
func (h handlers) EnrolDevice(ctx context.Context, r stub.EnrolDeviceRequestObject) (stub.EnrolDeviceResponseObject, error) {
	a := askedOf(ctx)
	e := device.Enrolment{KeyID: a.caller.KeyID, Public: a.caller.Public}
	for _, id := range r.Body.Identities {
		e.Identities = append(e.Identities, device.Identity{Source: string(id.Source), Digest: id.Digest})
	}
	if r.Body.Model != nil {
		e.Model = *r.Body.Model
	}
	e.Proof, e.Proven = h.attest.Verify(attest.Proofs{
		KeyID: e.KeyID, Identities: e.Identities, Answer: value(r.Body.Proof), Token: value(r.Body.EnrolmentToken),
	})
	out, err := h.devices.Enrol(ctx, e)
	if err != nil {
		return nil, err
	}
	identity := accountapi.Unproven
	if out.Proof != device.Unproven {
		identity = accountapi.Proven
	}
	return stub.EnrolDevice200JSONResponse{
		DeviceId: out.DeviceID, KeyStatus: accountapi.EnrolResponseKeyStatus(out.KeyStatus), Identity: identity,
	}, nil
}

// ChallengeDevice implements stub.StrictServerInterface.
func (h handlers) ChallengeDevice(ctx context.Context, r stub.ChallengeDeviceRequestObject) (stub.ChallengeDeviceResponseObject, error) {
	c := askedOf(ctx).caller
	claim := attest.Claim{Key: c.Public, KeyID: c.KeyID}
	for _, part := range []struct {
		text string
		into *[]byte
	}{{r.Body.EndorsementKey, &claim.Endorsement}, {r.Body.DeviceKey, &claim.DeviceKey}, {value(r.Body.Certificate), &claim.Certificate}} {
		b, err := base64.RawURLEncoding.DecodeString(part.text)
		if err != nil {
			return nil, invalid("a part is not base64url without padding")
		}
		*part.into = b
	}
	out, err := h.attest.Challenge(claim)
	if err != nil {
		return nil, err
	}
	return stub.ChallengeDevice200JSONResponse{
		Credential: base64.RawURLEncoding.EncodeToString(out.Credential), Secret: base64.RawURLEncoding.EncodeToString(out.Secret),
	}, nil
}

// StateDevice implements stub.StrictServerInterface.
func (h handlers) StateDevice(ctx context.Context, r stub.StateDeviceRequestObject) (stub.StateDeviceResponseObject, error) {
	var link string
	if r.Body.LinkId != nil {
		link = *r.Body.LinkId
	}
	word, err := h.flows.Statement(askedOf(ctx).caller, link, r.Body.Nonce)
	if err != nil {
		return nil, err
	}
	return stub.StateDevice200JSONResponse{Statement: word}, nil
}

// ReportEvents implements stub.StrictServerInterface.
func (h handlers) ReportEvents(ctx context.Context, r stub.ReportEventsRequestObject) (stub.ReportEventsResponseObject, error) {
	a := askedOf(ctx)
	if !a.caller.Trusted() {
		// fails locked: a stranger's key does not write the owner's list.
		return nil, fault.New(fault.DeviceUnknown, nil)
	}
	events := make([]device.Event, len(r.Body.Events))
	for i, e := range r.Body.Events {
		events[i] = device.Event{Kind: string(e.Kind), At: time.Unix(e.Time, 0)}
		if e.Detail != nil {
			events[i].Detail = *e.Detail
		}
	}
	if err := h.devices.Report(ctx, a.caller.DeviceID, a.key, events); err != nil {
		return nil, err
	}
	return stub.ReportEvents204Response{}, nil
}

// BeginFlow implements stub.StrictServerInterface.
func (h handlers) BeginFlow(ctx context.Context, r stub.BeginFlowRequestObject) (stub.BeginFlowResponseObject, error) {
	step, err := h.flows.Begin(ctx, askedOf(ctx).caller, *r.Body)
	if err != nil {
		return nil, err
	}
	h.metrics.steps.WithLabelValues(string(r.Body.Kind), string(step.Step)).Inc()
	return stub.BeginFlow200JSONResponse(step), nil
}

// AnswerFlow implements stub.StrictServerInterface.
func (h handlers) AnswerFlow(ctx context.Context, r stub.AnswerFlowRequestObject) (stub.AnswerFlowResponseObject, error) {
	defer wipe(r.Body)
	a := askedOf(ctx)
	step, kind, err := h.flows.Answer(ctx, flow.Request{
		FlowID: r.FlowId, Key: a.key, Answer: *r.Body, Caller: a.caller, Address: a.address,
	})
	if err != nil {
		return nil, err
	}
	h.metrics.steps.WithLabelValues(string(kind), string(step.Step)).Inc()
	h.notices.Kick()
	return stub.AnswerFlow200JSONResponse(step), nil
}

// EndFlow implements stub.StrictServerInterface.
func (h handlers) EndFlow(ctx context.Context, r stub.EndFlowRequestObject) (stub.EndFlowResponseObject, error) {
	if err := h.flows.End(ctx, r.FlowId); err != nil {
		return nil, err
	}
	return stub.EndFlow204Response{}, nil
}

// ResendCode implements stub.StrictServerInterface.
func (h handlers) ResendCode(ctx context.Context, r stub.ResendCodeRequestObject) (stub.ResendCodeResponseObject, error) {
	a := askedOf(ctx)
	step, err := h.flows.Resend(ctx, r.FlowId, a.caller, a.address)
	if err != nil {
		return nil, err
	}
	h.notices.Kick()
	return stub.ResendCode200JSONResponse(step), nil
}

// GetKeys implements stub.StrictServerInterface.
func (h handlers) GetKeys(_ context.Context, r stub.GetKeysRequestObject) (stub.GetKeysResponseObject, error) {
	var after int64
	if r.Params.After != nil {
		after = *r.Params.After
	}
	if after < 0 {
		return nil, invalid("after must not be negative")
	}
	sets, err := h.keys.Sets(after)
	if err != nil {
		return nil, err
	}
	return stub.GetKeys200JSONResponse{KeySets: sets}, nil
}

// GetSupport implements stub.StrictServerInterface.
func (h handlers) GetSupport(_ context.Context, r stub.GetSupportRequestObject) (stub.GetSupportResponseObject, error) {
	var region string
	if r.Params.Region != nil {
		region = *r.Params.Region
	}
	if !regionPattern.MatchString(region) {
		return nil, invalid("region is not ISO 3166-1 alpha-2")
	}
	locale := value(r.Params.Locale)
	if len(locale) > 35 {
		return nil, invalid("locale is longer than 35 bytes")
	}
	return stub.GetSupport200JSONResponse{Contacts: ContactsFor(h.support, region, locale)}, nil
}

// Livez implements stub.StrictServerInterface.
func (h handlers) Livez(context.Context, stub.LivezRequestObject) (stub.LivezResponseObject, error) {
	return stub.Livez200Response{}, nil
}

// Readyz implements stub.StrictServerInterface.
func (h handlers) Readyz(ctx context.Context, _ stub.ReadyzRequestObject) (stub.ReadyzResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if h.draining.Load() {
		return notReady{}, nil
	}
	if err := h.db.Ping(ctx); err != nil {
		h.log.WarnContext(ctx, "not ready", "error", err)
		return notReady{}, nil
	}
	return stub.Readyz200Response{}, nil
}

// readyTime bounds how long the database is waited for.
const readyTime = 2 * time.Second

// notReady is stub.Readyz503Response with the Retry-After that each 503 has.
type notReady struct{}

// VisitReadyzResponse implements stub.ReadyzResponseObject.
func (notReady) VisitReadyzResponse(w http.ResponseWriter) error {
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	return nil
}

// Metrics implements stub.StrictServerInterface.
func (h handlers) Metrics(ctx context.Context, _ stub.MetricsRequestObject) (stub.MetricsResponseObject, error) {
	return figures{ctx: ctx, handler: h.metrics.handler()}, nil
}

// figures answers with what is measured.
type figures struct {
	ctx     context.Context //nolint:containedctx // it is an answer, and lives as long as its request
	handler http.Handler
}

// VisitMetricsResponse implements stub.MetricsResponseObject.
func (f figures) VisitMetricsResponse(w http.ResponseWriter) error {
	r, err := http.NewRequestWithContext(f.ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return err
	}
	f.handler.ServeHTTP(w, r)
	return nil
}
