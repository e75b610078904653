// SPDX-License-Identifier: Apache-2.0

// Package captcha owns the check that somebody spends an effort on a request: an
// ALTCHA proof of work (https://altcha.org/docs, version 1), hosted here, without a
// third party and without a puzzle for people. It costs a person nothing and
// whoever guesses at a thousand accounts a thousand times as much.
//
// Challenges are not kept: each carries its end and its use under an HMAC. What
// is kept until that end is which were solved, so that none is solved twice.
//
// It must not know when a captcha is asked for.
package captcha

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/altcha-org/altcha-lib-go"

	"github.com/accountlock/accountlock/internal/fault"
)

const (
	// Life is how long a challenge can be solved: as long as a flow waits for it.
	Life = 15 * time.Minute
	// Effort is the number of hashes (SHA-256) that a solution takes at most, twice
	// the average: some tens of milliseconds in a program, a second in a browser.
	Effort = 100_000
	// maxAnswer bounds, in bytes, what is parsed.
	maxAnswer = 4096
)

// DB runs transactions, as *store.DB does.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
}

// Captcha makes challenges and verifies answers. It is safe for concurrent use, by
// several processes with one secret and database too.
type Captcha struct {
	db  DB
	key string
	now func() time.Time
}

// New returns a Captcha under the service secret.
func New(db DB, secret []byte, now func() time.Time) *Captcha {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("captcha"))
	return &Captcha{db: db, key: hex.EncodeToString(h.Sum(nil)), now: now}
}

// challenge is what a client gets. The widget of older versions reads maxnumber.
type challenge struct {
	altcha.Challenge
	MaxNumber int64 `json:"maxnumber"`
}

// Challenge returns a new challenge (JSON, as ALTCHA's widget takes it) for one use,
// such as a flow's ID: its answer does not serve another one.
func (c *Captcha) Challenge(use string) (string, error) {
	made, err := altcha.CreateChallenge(altcha.ChallengeOptions{
		Algorithm: altcha.SHA256, MaxNumber: Effort, HMACKey: c.key,
		// Not under the widget's own name for it (expires): it would judge that by the visitor's
		// clock, and stop at once where that is wrong.
		Params: url.Values{"use": {name(use)}, "until": {strconv.FormatInt(c.now().Add(Life).Unix(), 10)}},
	})
	if err != nil {
		return "", fmt.Errorf("cannot make a captcha: %w", err)
	}
	b, err := json.Marshal(challenge{made, made.MaxNumber})
	if err != nil {
		return "", fmt.Errorf("cannot make a captcha: %w", err)
	}
	return string(b), nil
}

// Verify returns nil, once, for the answer to a challenge of the same use.
// Otherwise its error is fault.CaptchaRequired: a new challenge has to be solved.
func (c *Captcha) Verify(ctx context.Context, use, answer string) error {
	p, ok := parse(answer)
	if !ok {
		return refused("The answer to the check is none.")
	}
	if right, err := altcha.VerifySolutionSafe(p, c.key, false); err != nil || !right {
		return refused("The answer to the check is wrong.")
	}
	// What follows was signed with the challenge.
	signed := altcha.ExtractParams(p)
	until, err := strconv.ParseInt(signed.Get("until"), 10, 64)
	now := c.now()
	switch {
	case err != nil || signed.Get("use") != name(use):
		return refused("The answer is to another check.")
	case now.Unix() >= until:
		return refused("The check has expired.")
	}
	fresh, err := c.spend(ctx, p.Challenge, until)
	if err != nil {
		return err
	}
	if !fresh {
		return refused("The check was answered before.")
	}
	return nil
}

func parse(answer string) (altcha.Payload, bool) {
	if len(answer) > maxAnswer {
		return altcha.Payload{}, false
	}
	b, err := base64.StdEncoding.DecodeString(answer)
	if err != nil {
		return altcha.Payload{}, false
	}
	var p altcha.Payload
	return p, json.Unmarshal(b, &p) == nil && p.Algorithm == string(altcha.SHA256)
}

// spend notes that a challenge was solved, and reports whether it was not before.
func (c *Captcha) spend(ctx context.Context, challenge string, until int64) (bool, error) {
	var n int64
	err := c.db.Tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO captchas (challenge, expires_at) VALUES ($1, $2) ON CONFLICT (challenge) DO NOTHING`,
			challenge, until*1000)
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	if err != nil {
		return false, fmt.Errorf("cannot note a solved captcha: %w", err)
	}
	return n == 1, nil
}

// Sweep forgets the solved challenges that have expired.
func (c *Captcha) Sweep(ctx context.Context) error {
	err := c.db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM captchas WHERE expires_at < $1`, c.now().UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot forget captchas: %w", err)
	}
	return nil
}

func refused(what string) error { return fault.Newf(fault.CaptchaRequired, "%s", what) }

// name is what a challenge knows its use by.
func name(use string) string {
	sum := sha256.Sum256([]byte(use))
	return hex.EncodeToString(sum[:12])
}
