// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"errors"
)

// NewNonce returns a nonce as an answer brings it.
func (s *Server) NewNonce() (string, error) { return s.nonces.New() }

// FlushSeen writes down which devices were seen.
func (s *Server) FlushSeen(ctx context.Context) error { return s.seen.flush(ctx, s.devices) }

// Operations returns the names of the signed calls by pattern.
func Operations() map[string]string {
	out := map[string]string{}
	for pattern, op := range operations {
		out[pattern] = op.name
	}
	return out
}

// Decode reads the body of a call by its name.
func Decode(name string, body []byte) (any, error) {
	decode, ok := bodies[name]
	if !ok {
		return nil, errors.New("no such call")
	}
	return decode(body)
}
