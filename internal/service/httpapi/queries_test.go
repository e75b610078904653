// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

// TestWhatIsAskedOfTheDatabase bounds what a statement and an unlock cost it: each of its answers is
// waited for.
func TestWhatIsAskedOfTheDatabase(t *testing.T) {
	s, counts := apitest.StartCounting(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	for what, c := range map[string]struct {
		do   func()
		most int64
	}{
		"a statement": {func() {
			d.Post(t, "/v1/devices/"+d.ID+"/statement", accountapi.StatementRequest{Nonce: apitest.NewNonce()})
		}, 3},
		"an unlock by password": {func() {
			begun, _ := d.Begin(t, accountapi.FlowKindUnlock)
			id := begun.Step.FlowId
			d.Reply(t, id, apitest.UseHint())
			wantStep(t, d.Reply(t, id, apitest.Password(s.Owner.Password)), accountapi.Done)
		}, 36},
	} {
		counts.Take()
		c.do()
		if got := counts.Take(); got.Queries+got.Execs > c.most {
			t.Errorf("%s asks the database %d times: %+v", what, got.Queries+got.Execs, got)
		}
	}
}
