// SPDX-License-Identifier: Apache-2.0

package captcha_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/altcha-org/altcha-lib-go"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/proofofwork"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/captcha"
	"github.com/accountlock/accountlock/internal/service/store"
)

func newCaptcha(t *testing.T) (*captcha.Captcha, *store.DB, *apitest.Clock) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock := apitest.NewClock()
	return captcha.New(db, bytes.Repeat([]byte("s"), 32), clock.Now), db, clock
}

func solve(t *testing.T, c *captcha.Captcha, use string) string {
	t.Helper()
	challenge, err := c.Challenge(use)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := proofofwork.Solve(t.Context(), challenge)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	if fault.CodeOf(err) != fault.CaptchaRequired {
		t.Errorf("%s: got %v", what, err)
	}
}

func TestAnAnswerServesOnce(t *testing.T) {
	c, db, clock := newCaptcha(t)
	answer := solve(t, c, "flow")
	if err := c.Verify(t.Context(), "flow", answer); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, "again", c.Verify(t.Context(), "flow", answer))
	// Sweeping does not make it good again before it has expired, on another server neither.
	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := captcha.New(db, bytes.Repeat([]byte("s"), 32), clock.Now)
	wantRefused(t, "on another server", other.Verify(t.Context(), "flow", answer))
	clock.Advance(captcha.Life + time.Second)
	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, "after its end", c.Verify(t.Context(), "flow", answer))
}

func TestAnAnswerServesOneOfManyWhoBringItAtOnce(t *testing.T) {
	c, _, _ := newCaptcha(t)
	answer := solve(t, c, "flow")
	var good atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if c.Verify(t.Context(), "flow", answer) == nil {
				good.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 {
		t.Fatalf("it served %d times", good.Load())
	}
}

func TestAnAnswerServesItsOwnUseUntilItsEnd(t *testing.T) {
	c, db, clock := newCaptcha(t)
	answer := solve(t, c, "flow")
	wantRefused(t, "another flow", c.Verify(t.Context(), "other", answer))
	stranger := captcha.New(db, bytes.Repeat([]byte("x"), 32), clock.Now)
	wantRefused(t, "another service", stranger.Verify(t.Context(), "flow", answer))
	clock.Advance(captcha.Life - time.Second)
	if err := c.Verify(t.Context(), "flow", answer); err != nil {
		t.Fatal(err)
	}
	late := solve(t, c, "flow")
	clock.Advance(captcha.Life)
	wantRefused(t, "late", c.Verify(t.Context(), "flow", late))
}

func TestNoAnswerIsMadeUp(t *testing.T) {
	c, _, _ := newCaptcha(t)
	right := solve(t, c, "flow")
	raw, err := base64.StdEncoding.DecodeString(right)
	if err != nil {
		t.Fatal(err)
	}
	change := func(fn func(*altcha.Payload)) string {
		var p altcha.Payload
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		fn(&p)
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	for name, answer := range map[string]string{
		"nothing":             "",
		"no base64":           "%%%",
		"no JSON":             base64.StdEncoding.EncodeToString([]byte("{")),
		"too long":            strings.Repeat("A", 5000),
		"another number":      change(func(p *altcha.Payload) { p.Number++ }),
		"a longer life":       change(func(p *altcha.Payload) { p.Salt = strings.Replace(p.Salt, "until=1", "until=9", 1) }),
		"a digit moved over":  change(func(p *altcha.Payload) { p.Salt += strconv.FormatInt(p.Number, 10)[:1]; p.Number %= 10 }),
		"another signature":   change(func(p *altcha.Payload) { p.Signature = strings.Repeat("0", 64) }),
		"a weaker algorithm":  change(func(p *altcha.Payload) { p.Algorithm = "SHA-1" }),
		"an unknown one":      change(func(p *altcha.Payload) { p.Algorithm = "none" }),
		"a challenge of ours": change(func(p *altcha.Payload) { p.Salt, p.Challenge = "", "" }),
	} {
		wantRefused(t, name, c.Verify(t.Context(), "flow", answer))
	}
	if err := c.Verify(t.Context(), "flow", right); err != nil {
		t.Errorf("wrong answers have used the right one up: %v", err)
	}
}

func TestSolvingIsBounded(t *testing.T) {
	for name, challenge := range map[string]string{
		"no challenge":       "Which of these are traffic lights?",
		"too much":           `{"algorithm":"SHA-256","challenge":"00","maxNumber":99999999999,"salt":"x"}`,
		"another algorithm":  `{"algorithm":"ARGON2","challenge":"00","maxNumber":10,"salt":"x"}`,
		"without a solution": `{"algorithm":"SHA-256","challenge":"00","maxNumber":10,"salt":"x"}`,
	} {
		if answer, err := proofofwork.Solve(t.Context(), challenge); err == nil {
			t.Errorf("%s: %q", name, answer)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := proofofwork.Solve(ctx, `{"algorithm":"SHA-256","challenge":"00","maxNumber":10000000,"salt":"x"}`); err == nil {
		t.Error("it goes on after its context")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("")
	f.Add(base64.StdEncoding.EncodeToString([]byte(`{"algorithm":"SHA-256","challenge":"00","number":1,"salt":"a?until=1&use=2&","signature":"00"}`)))
	f.Add(base64.StdEncoding.EncodeToString([]byte(`{"algorithm":"SHA-256","salt":"?%zz"}`)))
	c := captcha.New(nil, bytes.Repeat([]byte("s"), 32), time.Now)
	f.Fuzz(func(t *testing.T, answer string) {
		// Without a database: whoever reaches it has forged a signature.
		if err := c.Verify(t.Context(), "flow", answer); fault.CodeOf(err) != fault.CaptchaRequired {
			t.Errorf("%q: %v", answer, err)
		}
	})
}
