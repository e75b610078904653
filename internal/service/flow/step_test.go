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
	wait     = accountapi.Wait
	chosen   = accountapi.NewPassword
)

var steps = []accountapi.StepName{identify, password, captcha, code, confirm, commit, done, wait, chosen}

func TestWhichStepTakesWhichAnswer(t *testing.T) {
	takes := map[accountapi.StepName]map[accountapi.StepName]bool{
		identify: {identify: true},
		password: {identify: true, password: true},
		captcha:  {identify: true, captcha: true},
		code:     {identify: true, password: true, code: true},
		confirm:  {confirm: true},
		commit:   {commit: true},
		wait:     {identify: true, wait: true},
		chosen:   {chosen: true},
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
	kinds := []accountapi.FlowKind{accountapi.FlowKindUnlock, accountapi.FlowKindLink, accountapi.FlowKindSignOut, accountapi.FlowKindUnlink, accountapi.FlowKindReset}
	// For each status: unlock, link, sign-out, unlink, reset.
	type row [5]fault.Code
	const not, already, unknown = fault.NotLinked, fault.AlreadyLinked, fault.DeviceUnknown
	for status, want := range map[device.Status]struct{ trusted, pending row }{
		device.None:           {row{not, "", not, not, not}, row{not, "", not, not, not}},
		device.Linked:         {row{"", already, "", "", ""}, row{"", already, unknown, unknown, unknown}},
		device.Lost:           {row{"", already, not, not, not}, row{"", already, not, not, not}},
		device.SignedOut:      {row{not, "", not, "", not}, row{not, "", not, unknown, not}},
		device.Unlinked:       {row{not, "", not, not, not}, row{not, "", not, not, not}},
		device.AccountDeleted: {row{not, "", not, not, not}, row{not, "", not, not, not}},
	} {
		for i, kind := range kinds {
			if got := fault.CodeOf(flow.MayBegin(kind, device.Link{Status: status}, true)); got != want.trusted[i] {
				t.Errorf("%s on a device that is %q: %q, want %q", kind, status, got, want.trusted[i])
			}
			if got := fault.CodeOf(flow.MayBegin(kind, device.Link{Status: status}, false)); got != want.pending[i] {
				t.Errorf("%s on a device that is %q, by a pending key: %q, want %q", kind, status, got, want.pending[i])
			}
		}
	}
}

func TestADeviceThatItsOwnerHasResetMayBeLinkedAgain(t *testing.T) {
	for status, want := range map[device.Status]fault.Code{device.Linked: "", device.Lost: fault.AlreadyLinked} {
		l := device.Link{Status: status, AccountID: "1", ResetAllowed: true}
		if got := fault.CodeOf(flow.MayBegin(accountapi.FlowKindLink, l, true)); got != want {
			t.Errorf("%s: %q", status, got)
		}
		if got := fault.CodeOf(flow.MayBegin(accountapi.FlowKindLink, l, false)); got != fault.AlreadyLinked {
			t.Errorf("%s, by a key that the owner has not seen: %q", status, got)
		}
	}
}

func TestTheOrderOfSteps(t *testing.T) {
	for kind, want := range map[accountapi.FlowKind][3]accountapi.StepName{
		accountapi.FlowKindUnlock:  {identify, identify, done},
		accountapi.FlowKindLink:    {identify, identify, confirm},
		accountapi.FlowKindSignOut: {identify, password, commit},
		accountapi.FlowKindUnlink:  {identify, password, commit},
		accountapi.FlowKindReset:   {identify, password, confirm},
	} {
		if got := [3]accountapi.StepName{flow.First(kind, false), flow.First(kind, true), flow.AfterProof(kind)}; got != want {
			t.Errorf("%s begins at %s, where the account is known at %s, and goes on at %s; want %s", kind, got[0], got[1], got[2], want)
		}
	}
}
