// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/flow"
)

const (
	identify = accountapi.Identify
	password = accountapi.Password
	captcha  = accountapi.Captcha
	code     = accountapi.Code
	confirm  = accountapi.Confirm
	commit   = accountapi.Commit
	done     = accountapi.Done
)

var steps = []accountapi.StepName{identify, password, captcha, code, confirm, commit, done}

func TestWhichStepTakesWhichAnswer(t *testing.T) {
	takes := map[accountapi.StepName]map[accountapi.StepName]bool{
		identify: {identify: true},
		password: {identify: true, password: true},
		captcha:  {identify: true, captcha: true},
		code:     {identify: true, password: true, code: true},
		confirm:  {confirm: true},
		commit:   {commit: true},
	}
	for _, at := range steps {
		for _, answered := range steps {
			for _, committed := range []bool{false, true} {
				want := takes[at][answered] || (at == done && answered == commit && committed)
				err := flow.Accepts(at, answered, committed)
				if (err == nil) != want || (err != nil && fault.CodeOf(err) != fault.WrongStep) {
					t.Errorf("at %s (committed: %t), %s: %v, want taken: %t", at, committed, answered, err, want)
				}
			}
		}
	}
}

func TestWhatMayBegin(t *testing.T) {
	kinds := []accountapi.FlowKind{accountapi.FlowKindUnlock, accountapi.FlowKindLink, accountapi.FlowKindSignOut, accountapi.FlowKindUnlink}
	// For each status: unlock, link, sign-out, unlink.
	type row [4]fault.Code
	const not, already, unknown = fault.NotLinked, fault.AlreadyLinked, fault.DeviceUnknown
	for status, want := range map[device.Status]struct{ trusted, pending row }{
		device.None:           {row{not, "", not, not}, row{not, "", not, not}},
		device.Linked:         {row{"", already, "", ""}, row{"", already, unknown, unknown}},
		device.Lost:           {row{"", already, not, not}, row{"", already, not, not}},
		device.SignedOut:      {row{not, "", not, ""}, row{not, "", not, unknown}},
		device.Unlinked:       {row{not, "", not, not}, row{not, "", not, not}},
		device.AccountDeleted: {row{not, "", not, not}, row{not, "", not, not}},
	} {
		for i, kind := range kinds {
			if got := fault.CodeOf(flow.MayBegin(kind, status, true)); got != want.trusted[i] {
				t.Errorf("%s on a device that is %q: %q, want %q", kind, status, got, want.trusted[i])
			}
			if got := fault.CodeOf(flow.MayBegin(kind, status, false)); got != want.pending[i] {
				t.Errorf("%s on a device that is %q, by a pending key: %q, want %q", kind, status, got, want.pending[i])
			}
		}
	}
}

func TestTheOrderOfSteps(t *testing.T) {
	for kind, want := range map[accountapi.FlowKind][3]accountapi.StepName{
		accountapi.FlowKindUnlock:  {identify, identify, done},
		accountapi.FlowKindLink:    {identify, identify, confirm},
		accountapi.FlowKindSignOut: {identify, password, commit},
		accountapi.FlowKindUnlink:  {identify, password, commit},
	} {
		if got := [3]accountapi.StepName{flow.First(kind, false), flow.First(kind, true), flow.AfterProof(kind)}; got != want {
			t.Errorf("%s begins at %s, where the account is known at %s, and goes on at %s; want %s", kind, got[0], got[1], got[2], want)
		}
	}
}
