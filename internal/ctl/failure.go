// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"fmt"
	"strings"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/fault"
)

// failure is what a command ends with that did not do what it is for.
type failure = busclient.Failure

// short is the name as it stands behind the message, to look it up by.
func short(f *failure) string {
	if f.Name == busclient.CancelledName {
		return ""
	}
	return " (" + console.Clean(f.Name[strings.LastIndexByte(f.Name, '.')+1:]) + ")"
}

// exitStatus is the error of a command that has printed its answer and ends
// with a code other than 0.
type exitStatus int

// Error implements error.
func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func usage(format string, args ...any) *failure {
	return busclient.Failed(fault.InvalidArgument, fmt.Sprintf(format, args...), "See accountlockctl --help.")
}
