// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/secret"
)

// person answers a flow's steps as it asks, with the given password.
func person(f *flow.Flow, password string) error {
	for range 10 {
		v := f.View()
		in := flow.Input{}
		switch v.Step {
		case flow.StepIdentify:
			if v.Prompt.AccountHint == "" {
				in["identifier"] = ownID
			}
		case flow.StepPassword:
			in["password"] = secret.Bytes(password)
		case flow.StepConfirm:
			in["confirm"] = true
			if v.Prompt.RecoveryCode != "" {
				in["recovery-code"] = secret.Bytes(v.Prompt.RecoveryCode)
			}
		default:
			return nil
		}
		if err := f.Submit(context.Background(), in); err != nil {
			return err
		}
	}
	return errors.New("the flow does not end")
}

// run begins a flow and answers it to its end.
func (d *daemon) run(t testing.TB, kind lock.Kind) {
	t.Helper()
	f, err := d.m.Begin(":1.1", kind, flow.Options{})
	if err != nil {
		t.Fatalf("begin %s: %v", kind, err)
	}
	if err := person(f, rightPassword); err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	if v := f.View(); v.Step != flow.StepDone {
		t.Fatalf("%s ended at %s: %v", kind, v.Step, v.Error)
	}
}

// ready is a world with a device that has checked in and is unlinked.
func ready(t testing.TB) (*world, *daemon) {
	t.Helper()
	w := newWorld()
	d := w.boot(t)
	if got := d.state(); got != lock.LockedFor(lock.RecordMissing) {
		t.Fatalf("a blank store under require-online gives %s", got)
	}
	if err := d.m.CheckIn(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := d.state(); got.State != lock.Unlinked {
		t.Fatalf("after the service said 'unlinked': %s", got)
	}
	return w, d
}

func markerHash(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:]
}
