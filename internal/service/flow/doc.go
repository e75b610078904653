// SPDX-License-Identifier: Apache-2.0

// Package flow owns the conversations in which a person proves to the account
// service, on a device, that an account is theirs: which step follows which,
// which grant a proof earns and what a commit changes. All of a flow is in the
// database, so that any server answers its next step.
//
// It must not know HTTP or how a password is verified.
package flow
