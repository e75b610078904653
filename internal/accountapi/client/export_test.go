// SPDX-License-Identifier: Apache-2.0

package client

import "time"

// MaxBody is the bound of an answer.
const MaxBody = maxBody

// Hurry shortens the time of a call, so that a test of its end does not wait for it.
func (c *Client) Hurry(d time.Duration) { c.callTime = d }

// IsDeviceName and IsToken are the forms of names that the service gives.
func IsDeviceName(s string) bool { return isDeviceName(s) }

// IsToken tells the form of an identifier.
func IsToken(s string) bool { return isToken(s) }
