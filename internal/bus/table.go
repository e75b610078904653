// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"time"

	"github.com/accountlock/accountlock/internal/lock"
)

// How a method of the Manager is authorised.
type access string

const (
	// free: none is needed, or the account's secret is the authorisation.
	free access = "free"
	// The rest are polkit actions below org.accountlock.AccountLock1.
	actLink    access = "link"
	actSignOut access = "sign-out"
	actUnlink  access = "unlink"
	actReset   access = "reset"
	actRead    access = "read-account"
	actCheckIn access = "check-in"
)

// authority is the one table of who may do what. A method that is not in it is
// denied; a test holds it, the XML and the methods below equal.
var authority = map[string]access{
	"Unlock":     free,
	"Link":       actLink,
	"SignOut":    actSignOut,
	"Unlink":     actUnlink,
	"Recover":    free,
	"Reset":      actReset,
	"GetAccount": actRead,
	"GetSupport": free,
	"Explain":    free,
	"Diagnose":   free,
	"CheckIn":    actCheckIn, // none while locked
}

// Interactive authorisation waits for a person at polkit's dialogue.
const authTime = 2 * time.Minute

var managerMethods = map[string]method{
	"Unlock":     {in: "a{sv}", out: "o", time: authTime, run: begin("Unlock", lock.KindUnlock)},
	"Link":       {in: "a{sv}", out: "o", time: authTime, run: begin("Link", lock.KindLink)},
	"SignOut":    {in: "a{sv}", out: "o", time: authTime, run: begin("SignOut", lock.KindSignOut)},
	"Unlink":     {in: "a{sv}", out: "o", time: authTime, run: begin("Unlink", lock.KindUnlink)},
	"Recover":    {in: "a{sv}", out: "o", run: begin("Recover", lock.KindRecover)},
	"Reset":      {in: "a{sv}", out: "o", time: authTime, run: begin("Reset", lock.KindReset)},
	"GetAccount": {out: "a{sv}", time: authTime, run: (*Server).getAccount},
	"GetSupport": {in: "s", out: "a(sss)", run: (*Server).getSupport},
	"Explain":    {out: "a(ssa{sv})", run: (*Server).explain},
	"Diagnose":   {out: "a(sssa{sv})", run: (*Server).diagnose},
	"CheckIn":    {time: authTime, run: (*Server).checkIn},
}

var flowMethods = map[string]method{
	"Submit": {in: "a{sv}", time: 29 * time.Second, run: (*Server).submit},
	"Choose": {in: "s", run: (*Server).choose},
	"Resend": {run: (*Server).resend},
	"Cancel": {run: (*Server).cancel},
}

// What each kind of object answers, by interface. Peer is godbus's own. They
// are filled at init, since the handlers' own introspection reads them.
var managerFaces, flowFaces, nodeFaces map[string]map[string]method

func init() {
	props := map[string]method{
		"Get":    {in: "ss", out: "v", run: (*Server).getProperty},
		"GetAll": {in: "s", out: "a{sv}", run: (*Server).getAllProperties},
		"Set":    {in: "ssv", run: (*Server).setProperty},
	}
	introspect := map[string]method{"Introspect": {out: "s", run: (*Server).introspect}}
	objects := map[string]method{"GetManagedObjects": {out: "a{oa{sa{sv}}}", run: (*Server).getManagedObjects}}
	managerFaces = map[string]map[string]method{
		ManagerFace: managerMethods, propsFace: props, introspectFace: introspect, objectsFace: objects,
	}
	flowFaces = map[string]map[string]method{FlowFace: flowMethods, propsFace: props, introspectFace: introspect}
	nodeFaces = map[string]map[string]method{introspectFace: introspect}
}
