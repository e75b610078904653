// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"net/http"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/flow"
)

// Report implements flow.Registry. The batch is the Idempotency-Key: told twice, it
// is noted once.
func (c *Client) Report(ctx context.Context, creds flow.Credentials, batch string, events []flow.Event) error {
	body := accountapi.EventsRequest{}
	for _, e := range events {
		out := accountapi.DeviceEvent{Kind: accountapi.DeviceEventKind(e.Kind), Time: e.Time}
		if e.Detail != "" {
			out.Detail = &e.Detail
		}
		body.Events = append(body.Events, out)
	}
	r, err := c.api.ReportEventsWithResponse(with(ctx, creds), creds.ID, &accountapi.ReportEventsParams{IdempotencyKey: batch}, body)
	if err != nil {
		return c.diagnose(ctx, err)
	}
	if r.StatusCode() != http.StatusNoContent {
		return c.problem(r.HTTPResponse, r.Body, r.ApplicationproblemJSONDefault)
	}
	return nil
}
