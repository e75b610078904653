// SPDX-License-Identifier: Apache-2.0

// Package faults shows that every way in which a network, a clock or an account
// service can fail is told as what it is: the real daemon on a private bus, a real
// account service behind a hostile front, toxiproxy in between, and network
// namespaces for what a machine's own network can lack. Each row asserts the
// error, its sentences, whether it counted, that the device stays shut, and that
// the verdict comes in time.
//
// It must not touch the host's network or its bus.
package faults
