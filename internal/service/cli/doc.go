// SPDX-License-Identifier: Apache-2.0

// Package cli owns the console commands of accountlock-server that act on its
// database, and the exit codes. A command returns its error as a fault; the
// main prints it (WriteError) and exits (Exit).
//
// It must not decide what may be done: the packages it calls do.
package cli
