// SPDX-License-Identifier: Apache-2.0

package accountapi_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

func TestAProblemOfAnotherApiIsNoFault(t *testing.T) {
	for _, typ := range []string{
		"", "about:blank", "InvalidCredentials", "https://accountlock.org/problems/", "https://accountlock.org/problems/NoSuchCode",
		"https://accountlock.org/problems/invalidcredentials", "http://accountlock.org/problems/Internal",
		"https://accountlock.org/problems/Internal/x", "https://evil.example/?https://accountlock.org/problems/Internal",
	} {
		if f := (accountapi.Problem{Type: typ}).Fault(); f != nil {
			t.Errorf("%q became %v", typ, f)
		}
	}
}

func TestWhatAProblemSaysIsBounded(t *testing.T) {
	text := strings.Repeat("x", 10000)
	for _, n := range []int{math.MinInt64, -1, 0, 1, 1000, math.MaxInt64} {
		p := accountapi.Problem{Type: accountapi.ProblemType + "RateLimited", Title: text, Detail: &text, Remedy: &text, Hint: &text, AttemptsLeft: &n, RetryAfter: &n}
		f := p.Fault()
		own := fault.New(fault.RateLimited, nil)
		if f.Message != own.Message || f.Remedy != own.Remedy || f.Hint != "" || f.RetryAfter < 0 || f.RetryAfter > 72*time.Hour || f.AttemptsLeft < -1 || f.AttemptsLeft >= 1000 {
			t.Errorf("%d: %+v", n, f)
		}
	}
}

func FuzzProblemFault(f *testing.F) {
	f.Add([]byte(`{"type":"https://accountlock.org/problems/RateLimited","title":"x","status":429,"retry_after":5,"attempts_left":2,"counted":true,"hint":"j"}`))
	f.Add([]byte(`{"type":"https://accountlock.org/problems/Internal","hint":"\u0000\u202e"}`))
	f.Add([]byte(`{"type":7}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p accountapi.Problem
		if json.Unmarshal(raw, &p) != nil {
			return
		}
		got := p.Fault()
		if got == nil {
			return
		}
		if got.RetryAfter < 0 || got.RetryAfter > 72*time.Hour || got.AttemptsLeft < -1 || got.AttemptsLeft >= 1000 ||
			len(got.Hint) > 254 || strings.ContainsRune(got.Hint, 0) || !utf8.ValidString(got.Hint) {
			t.Fatalf("%+v", got)
		}
		if back := accountapi.NewProblem(got).Fault(); back == nil || back.Code != got.Code || back.Hint != got.Hint || back.RetryAfter != got.RetryAfter {
			t.Fatalf("%+v came back as %+v", got, back)
		}
	})
}

// FuzzStepAndAnswer decodes what each side says in a flow.
func FuzzStepAndAnswer(f *testing.F) {
	f.Add([]byte(`{"flow_id":"flow-1","step":"code","sent_to":"j•••","expires":5,"grant":"a.b.c"}`))
	f.Add([]byte(`{"step":"password","password":"p\u0000\ud800","code":null,"confirm":true,"nonce":"n"}`))
	f.Add([]byte(`{"password":12345678}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s accountapi.FlowStep
		_ = json.Unmarshal(raw, &s)
		var a accountapi.FlowAnswer
		if json.Unmarshal(raw, &a) != nil {
			return
		}
		for _, secret := range []*accountapi.Secret{a.Password, a.Code} {
			if secret == nil {
				continue
			}
			out, err := json.Marshal(secret)
			var back accountapi.Secret
			if err != nil || json.Unmarshal(out, &back) != nil || string(back) != string(*secret) {
				t.Fatalf("%q came back as %q, %v", []byte(*secret), []byte(back), err)
			}
		}
	})
}

func FuzzPlain(f *testing.F) {
	f.Add("j•••@example.org", 10)
	f.Add("a\x00b\u202e\xff", 3)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = min(max(n, 0), 1000)
		got := accountapi.Plain(s, n)
		if len(got) > n || !utf8.ValidString(got) || accountapi.Plain(got, n) != got {
			t.Fatalf("%q", got)
		}
		for _, r := range got {
			if r != '\n' && unicode.IsControl(r) {
				t.Fatalf("%q", got)
			}
		}
	})
}

func TestASecretIsOnTheWireAloneInPlainText(t *testing.T) {
	type body struct{ Password accountapi.Secret }
	s := accountapi.Secret("hunter2 <&>")
	b := body{s}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "b", b, "p", &b)
	all := log.String() + fmt.Sprint(s, b, &b) + fmt.Sprintf("%v %+v %#v %s %q %x %X %d %o %b %c %U", s, b, b, s, s, s, b, s, b, s, s, s)
	for _, leak := range []string{"hunter2", "68756e746572", "68756E746572", "104 117 110", "h u n", "U+0068", "150 165", "1101000"} {
		if strings.Contains(all, leak) {
			t.Errorf("%s is in %s", leak, all)
		}
	}
	raw, err := json.Marshal(b)
	var back body
	if err != nil || json.Unmarshal(raw, &back) != nil || string(back.Password) != string(s) {
		t.Fatalf("%s, %v", raw, err)
	}
	if _, err := json.Marshal(body{accountapi.Secret("\xff")}); err == nil || strings.Contains(err.Error(), "\xff") {
		t.Fatalf("got %v", err)
	}
	for _, wrong := range []string{`{"Password":12345678}`, `{"Password":["hunter2"]}`, `{"Password":{"a":"hunter2"}}`} {
		if err := json.Unmarshal([]byte(wrong), &back); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "1234") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	back.Password = accountapi.Secret("hunter2")
	back.Password.Wipe()
	if strings.Trim(string(back.Password), "\x00") != "" {
		t.Fatal("it was not wiped")
	}
}
