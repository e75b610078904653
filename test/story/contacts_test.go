// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	accountlock "github.com/accountlock/accountlock/internal/bus"
)

func TestSupportsContactsOutliveTheNetwork(t *testing.T) {
	type contact struct{ Kind, Label, Address string }
	ask := func(r *rig, region string) (list []contact, err error) {
		err = r.Manager().Call(accountlock.ManagerFace+".GetSupport", 0, region).Store(&list)
		return list, err
	}
	r := newRig(t)
	before, err := ask(r, "DE")
	if err != nil || len(before) == 0 {
		t.Fatalf("%v, %v", before, err)
	}
	r.stopServer()
	if after, err := ask(r, "DE"); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("without the account service: %v, %v", after, err)
	}
	// What was never heard is not made up.
	_, err = ask(r, "FR")
	r.wantError(err, "ServiceUnavailable")
}

// What is remembered for people says nothing of whether the account service answers.
func TestTheDoctorAsksTheAccountServiceItself(t *testing.T) {
	r := newRig(t)
	doctor := func() string {
		t.Helper()
		return string(r.Bus.Run(t, exec.Command(filepath.Join(r.Bin, "accountlockctl"), "doctor")).Output())
	}
	const good = "It answers and is trusted."
	if out := doctor(); !strings.Contains(out, good) {
		t.Fatalf("with the account service:\n%s", out)
	}
	r.stopServer()
	if out := doctor(); strings.Contains(out, good) || !strings.Contains(out, "account service") {
		t.Errorf("without it:\n%s", out)
	}
}
