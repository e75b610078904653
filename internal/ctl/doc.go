// SPDX-License-Identifier: Apache-2.0

// Package ctl owns accountlockctl: its commands, its exit codes, the JSON it
// prints and the way it talks with a person on a terminal.
//
// It is a client like any other: it knows the D-Bus interface and nothing of
// the daemon's inside, and it draws whatever step a flow is at. It must not
// know a flow in advance, decide anything about the lock, or take a secret from
// the command line or the environment.
package ctl

//go:generate go run ./gen
