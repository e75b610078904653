// SPDX-License-Identifier: Apache-2.0

// Package device owns what the account service knows of devices: how hardware is
// recognised, which key speaks for a device, the link of a device to an account
// and everything that changes it, and the owner's list of events.
//
// The decisions are pure functions (link.go, match.go, statement.go); every
// change is one transaction. It must not know passwords, flows or HTTP.
package device
