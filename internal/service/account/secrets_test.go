// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/account"
)

// TestNothingSecretIsSaid makes every kind of refusal and looks for what was
// typed in all that was said of it.
func TestNothingSecretIsSaid(t *testing.T) {
	var log strings.Builder
	w := newWorld(t, logTo(&log))
	jane := w.jane()
	code := w.send(jane, flow)
	w.sent.fail = errors.New("no mail today")
	var said strings.Builder
	for i := range 8 {
		_, err := w.Authenticate(t.Context(), at("jane@example.org", wrong, "D1"))
		fmt.Fprintf(&said, "%v %+v %#v\n", err, err, err)
		_, err = w.Create(t.Context(), account.NewAccount{Emails: []string{"jane@example.org"}, Password: accountapi.Secret(right)})
		fmt.Fprintf(&said, "%v %+v %#v\n", err, err, err)
		err = w.CheckCode(t.Context(), jane.ID, fmt.Sprint(flow, i%2), "unlink", accountapi.Secret(code))
		fmt.Fprintf(&said, "%v %+v %#v\n", err, err, err)
		_, _, err = w.SendCode(t.Context(), jane, fmt.Sprint("f", i), "unlink", "")
		fmt.Fprintf(&said, "%v %+v %#v\n", err, err, err)
	}
	if err := w.SetPassword(t.Context(), jane.ID, accountapi.Secret("a much newer password")); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&said, "%+v %#v", at("x", right, ""), account.NewAccount{Password: accountapi.Secret(wrong)})
	if log.Len() == 0 {
		t.Error("nothing was logged of the notice that could not be sent")
	}
	said.WriteString(log.String())
	for _, s := range []string{right, wrong, "newer", code, "argon2", "jane@example.org", "Jane@Example.org"} {
		if strings.Contains(said.String(), s) {
			t.Errorf("%q was said: %s", s, said.String())
		}
	}
}
