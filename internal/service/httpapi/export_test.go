// SPDX-License-Identifier: Apache-2.0

package httpapi

// NewNonce returns a nonce as an answer brings it.
func (s *Server) NewNonce() (string, error) { return s.nonces.New() }
