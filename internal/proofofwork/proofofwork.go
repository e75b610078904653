// SPDX-License-Identifier: Apache-2.0

// Package proofofwork solves the captcha of a flow (an ALTCHA challenge, version 1)
// for a client that has no browser: nobody has to be asked to read or click.
package proofofwork

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/altcha-org/altcha-lib-go"
)

// maxEffort bounds the hashes that a service may ask for: some seconds' worth.
const maxEffort = 10_000_000

// Solve returns the answer to a challenge. Errors are those of a challenge that is
// none, that asks for too much or has no solution, and of the context.
func Solve(ctx context.Context, challenge string) (string, error) {
	var c altcha.Challenge
	if err := json.Unmarshal([]byte(challenge), &c); err != nil {
		return "", errors.New("cannot read the check")
	}
	if c.Algorithm != string(altcha.SHA256) || c.MaxNumber < 0 || c.MaxNumber > maxEffort {
		return "", errors.New("cannot solve the check: it asks for another algorithm or for too much")
	}
	stop := make(chan struct{})
	defer context.AfterFunc(ctx, func() { close(stop) })()
	s, err := altcha.SolveChallenge(c.Challenge, c.Salt, altcha.SHA256, int(c.MaxNumber), 0, stop)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil || s == nil {
		return "", errors.New("cannot solve the check: it has no solution")
	}
	b, err := json.Marshal(altcha.Payload{
		Algorithm: c.Algorithm, Challenge: c.Challenge, Number: int64(s.Number), Salt: c.Salt, Signature: c.Signature,
	})
	if err != nil {
		return "", fmt.Errorf("cannot write the answer to the check: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b), nil
}
