// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/fault"
)

func TestEveryCodeHasOneSentenceOfCauseAndOneOfRemedy(t *testing.T) {
	seen := map[fault.Code]bool{}
	for _, c := range fault.Codes() {
		e := fault.New(c, nil)
		if e.Code != c || seen[c] {
			t.Errorf("%s: got %s, seen %v", c, e.Code, seen[c])
		}
		seen[c] = true
		for _, s := range []string{e.Message, e.Remedy} {
			if !strings.HasSuffix(s, ".") || strings.Contains(strings.TrimSuffix(s, "."), ". ") {
				t.Errorf("%s: not one sentence: %q", c, s)
			}
		}
		if c != fault.InvalidCredentials && strings.Contains(e.Message, "user name") {
			t.Errorf("%s blames the user name or password", c)
		}
	}
	if len(seen) != 29 {
		t.Errorf("the design lists 29 codes, here are %d", len(seen))
	}
}

func TestForeignErrorsBecomeInternalAndKeepTheirTextInside(t *testing.T) {
	raw := errors.New("open /secret/path: boom")
	e := fault.As(fmt.Errorf("cannot read: %w", raw))
	if e.Code != fault.Internal || strings.Contains(e.Message+e.Remedy, "boom") || !errors.Is(e, raw) {
		t.Fatalf("got %+v", e)
	}
	if fault.As(nil) != nil || fault.CodeOf(nil) != "" || fault.CodeOf(raw) != fault.Internal {
		t.Fatal("nil or foreign errors are not mapped")
	}
	if fault.New("NoSuchCode", nil).Code != fault.Internal {
		t.Fatal("an unlisted code must become Internal")
	}
}

func TestFaultsOfOneCodeMatch(t *testing.T) {
	wrapped := fmt.Errorf("flow: %w", fault.Newf(fault.Timeout, "slow"))
	if !errors.Is(wrapped, fault.New(fault.Timeout, nil)) || errors.Is(wrapped, fault.New(fault.Locked, nil)) {
		t.Fatal("errors.Is does not go by code")
	}
}
