// SPDX-License-Identifier: Apache-2.0

package tpm

import "time"

// OpenFor is Open with a deadline of its own.
func OpenFor(path string, wait time.Duration) (*Session, error) { return open(path, wait) }

// Commands returns how many commands the session has sent.
func (s *Session) Commands() int { return s.c.Commands() }
