// SPDX-License-Identifier: Apache-2.0

// Package diagnose says what kept the account service from answering, out of
// what was found and never by a guess: one function from findings to a verdict.
//
// It is pure. What it rests on is gathered elsewhere: internal/netcheck looks at
// the machine's network, internal/accountapi/client at what became of a call. It
// must not do I/O, nor know who shows a verdict.
package diagnose

import (
	"net/netip"
	"time"
)

// Stage is how far a call came.
type Stage int

// The stages of a call, in their order.
const (
	// Resolve: the name servers were asked for the account service's address.
	Resolve Stage = iota + 1
	// Connect: an address was known and a TCP connection was tried.
	Connect
	// Handshake: something accepted the connection, and TLS was tried.
	Handshake
	// Answer: the connection is with the account service, and it was asked.
	Answer
)

// Failure is what ended a call at its stage.
type Failure string

// The failures, each as the operating system, TLS or HTTP told it.
const (
	// TimedOut: nothing came.
	TimedOut Failure = "timed-out"
	// Refused: connect(2) said ECONNREFUSED.
	Refused Failure = "refused"
	// Cut: the peer closed or reset the connection.
	Cut Failure = "cut"
	// Unreachable: the kernel or a router knows no way (ENETUNREACH, EHOSTUNREACH …).
	Unreachable Failure = "unreachable"
	// NoSuchName: the name servers say that there is no such name (RFC 2308).
	NoSuchName Failure = "no-such-name"
	// ServerFailed: the name servers answered with a failure, or could not be asked.
	ServerFailed Failure = "server-failed"
	// Dates: everything about the certificates holds but their dates.
	Dates Failure = "dates"
	// Authority: no authority that the device trusts has signed the certificate.
	Authority Failure = "authority"
	// OtherHost: the certificate is for another name.
	OtherHost Failure = "other-host"
	// OtherPin: none of the certificate's keys is pinned.
	OtherPin Failure = "other-pin"
	// NoTLS13: the peer speaks TLS, and refuses what the account API asks of it.
	NoTLS13 Failure = "no-tls-1.3"
	// PlainHTTP: an answer in HTTP where TLS was spoken.
	PlainHTTP Failure = "plain-http"
	// OtherProtocol: an answer in no protocol that was expected.
	OtherProtocol Failure = "other-protocol"
	// OtherCertificate: the certificate is wrong in another way.
	OtherCertificate Failure = "other-certificate"
	// BadSignature: something was signed by a key that is not the service's.
	BadSignature Failure = "bad-signature"
	// Status: an HTTP status without a problem of the account API.
	Status Failure = "status"
	// OtherVersions: the service names the versions that it serves, and ours is not one.
	OtherVersions Failure = "other-versions"
	// UnknownStep: the service asks for a step that this version does not know.
	UnknownStep Failure = "unknown-step"
	// TooLarge: an answer beyond its bound.
	TooLarge Failure = "too-large"
	// Garbled: an answer that is not what the API promises.
	Garbled Failure = "garbled"
)

// Attempt is what became of one call.
type Attempt struct {
	Stage   Stage
	Failure Failure
	// Host is whom the configuration names.
	Host string
	// Addresses are those that were tried.
	Addresses []netip.Addr
	// From and To are when the certificates are good; zero where none came.
	From, To time.Time
	// Issuer is who signed the certificate, as it says itself.
	Issuer string
	// HTTP is the head of an answer in plain HTTP.
	HTTP Plain
	// Status is the HTTP status of an answer.
	Status int
}

// Plain is the head of an answer over HTTP without TLS; the network may have
// made it up.
type Plain struct {
	Status int
	// Location of a redirect, whole; empty where it leads to the service's own host.
	Location string
	// Proxy: the answer names itself a proxy's (407, Via, Proxy-Authenticate …).
	Proxy bool
	// Page: a text/html body with status 200.
	Page bool
}

// Portal is what the questions in plain text showed.
type Portal struct {
	// Asked: they were asked at all.
	Asked bool
	// Host is what answers at the service's own name, for a path that nobody has.
	Host Plain
	// Nobody is what answers at an address that belongs to nobody (RFC 5737).
	Nobody Plain
	// MadeUp: the name servers know a name that cannot exist (RFC 6761, 6.4).
	MadeUp bool
	// URL is what was asked at Host: whoever opens it is led to the login page.
	URL string
}

// Interface is one network interface other than the loopback.
type Interface struct {
	Name string
	// Up: switched on. Carrier: its cable or radio is connected.
	Up, Carrier bool
	// Addresses without the link-local ones.
	Addresses []netip.Prefix
}

// Network is the machine's own network.
type Network struct {
	// Known: the kernel could be asked.
	Known      bool
	Interfaces []Interface
	// Route4 and Route6: there is a default route.
	Route4, Route6 bool
	// NameServers are those that the resolver asks.
	NameServers []netip.Addr
	// Switched names what is switched off in the network's manager: `networking` or
	// `wireless`; empty is nothing.
	Switched string
	// ManagerPortal: the network's manager has found a login page.
	ManagerPortal bool
	// Managers are what runs and what it says, for support.
	Managers map[string]string
}

// Clock is what is known of the time.
type Clock struct {
	// System is the machine's clock.
	System time.Time
	// Floor is the last time that the account service signed, by the lock record.
	Floor time.Time
	// Built is when this program was made; no clock that is right is before it.
	Built time.Time
	// Signed is the account service's signed time, where it gave one since boot.
	Signed time.Time
	// Setter is who sets the clock, as it says itself; empty where nobody is known to.
	Setter string
	// Synced: the kernel says that the clock is kept in step (adjtimex(2)).
	Synced bool
}

// Used returns the time that certificates are checked by: the account service's
// own where it signed one since boot, otherwise the latest that it can not be
// before.
func (c Clock) Used() time.Time {
	if !c.Signed.IsZero() {
		return c.Signed
	}
	used := c.System
	for _, t := range []time.Time{c.Floor, c.Built} {
		if t.After(used) {
			used = t
		}
	}
	return used
}

// Findings are all that a verdict rests on.
type Findings struct {
	Attempt Attempt
	Network Network
	Portal  Portal
	Clock   Clock
}
