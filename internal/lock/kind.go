// SPDX-License-Identifier: Apache-2.0

package lock

import "fmt"

// Kind is what a flow is about. The values are those of the D-Bus property
// Kind and of the account API.
type Kind string

// The kinds.
const (
	KindUnlock  Kind = "unlock"
	KindLink    Kind = "link"
	KindSignOut Kind = "sign-out"
	KindUnlink  Kind = "unlink"
	KindRecover Kind = "recover"
	KindReset   Kind = "reset"
)

var allowed = map[Kind][]State{
	KindUnlock:  {Locked},
	KindLink:    {Unlinked, SignedOut},
	KindSignOut: {Linked},
	KindUnlink:  {Linked, SignedOut},
	KindRecover: {Unlinked, Linked, SignedOut, Locked},
	KindReset:   {Unlinked, Linked, SignedOut},
}

// KindRefusal is the error of a flow that the state does not allow.
type KindRefusal struct {
	State State
	Kind  Kind
}

// Error implements error.
func (r *KindRefusal) Error() string {
	return fmt.Sprintf("cannot begin %s: the device is %s", r.Kind, r.State)
}

// MayBegin returns nil where a flow of the kind may begin in the state, and a
// *KindRefusal otherwise.
func MayBegin(k Kind, s State) error {
	for _, a := range allowed[k] {
		if a == s {
			return nil
		}
	}
	return &KindRefusal{State: s, Kind: k}
}
