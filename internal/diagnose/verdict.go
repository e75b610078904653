// SPDX-License-Identifier: Apache-2.0

package diagnose

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/accountlock/accountlock/internal/fault"
)

// Verdict is what is the matter, and what to do about it.
type Verdict struct {
	Entry

	// Details are the evidence, for support and for screens: `url` is a login
	// page's address. They hold no secret.
	Details map[string]string
}

// Fault returns the verdict as a refusal; err, which may be nil, is its cause for the
// journal. It never counts as an attempt: nobody looked at what was typed.
func (v Verdict) Fault(err error) *fault.Error {
	f := fault.New(v.Code, err)
	f.Message, f.Remedy, f.Cause, f.Details = v.Message, v.Remedy, string(v.Cause), v.Details
	return f
}

// Of returns the verdict on a call that failed.
func Of(f Findings) Verdict {
	c := cause(f)
	v := Verdict{Entry: Named(c), Details: map[string]string{"cause": string(c)}}
	host := f.Attempt.Host
	if host == "" {
		host = "the account service"
	}
	v.Message = strings.ReplaceAll(v.Message, "HOST", host)
	v.Remedy = strings.ReplaceAll(v.Remedy, "HOST", host)
	v.describe(f)
	return v
}

func cause(f Findings) Cause {
	switch f.Attempt.Stage {
	case Resolve:
		return resolving(f)
	case Connect:
		return connecting(f)
	case Handshake:
		return shaking(f)
	default:
		return answering(f.Attempt)
	}
}

// Local returns what the machine's own network lacks, or nothing. A default route
// is proof enough of the rest.
func Local(n Network) Cause {
	if !n.Known || n.Route4 || n.Route6 {
		return ""
	}
	connected := slices.ContainsFunc(n.Interfaces, func(i Interface) bool { return i.Up && i.Carrier })
	addressed := slices.ContainsFunc(n.Interfaces, func(i Interface) bool { return i.Up && i.Carrier && len(i.Addresses) > 0 })
	switch {
	case addressed:
		return NoRoute
	case connected:
		return NoAddress
	case n.Switched != "":
		return NetworkOff
	case len(n.Interfaces) == 0:
		return NoInterface
	default:
		return NoCarrier
	}
}

func resolving(f Findings) Cause {
	// A network without a way out may still have name servers that say 'no such name'.
	if c := Local(f.Network); c != "" {
		return c
	}
	switch {
	case f.Network.Known && len(f.Network.NameServers) == 0:
		return NoNameServer
	case between(f) != "":
		return between(f)
	case f.Attempt.Failure == TimedOut:
		return NamesSilent
	case f.Attempt.Failure == NoSuchName:
		return NameUnknown
	default:
		return NamesFail
	}
}

func connecting(f Findings) Cause {
	if f.Attempt.Failure == Unreachable || f.Attempt.Failure == TimedOut && !anyLocal(f.Attempt.Addresses) {
		if c := Local(f.Network); c != "" && (c != NoRoute || f.Attempt.Failure == Unreachable) {
			return c
		}
	}
	if c := between(f); c != "" {
		return c
	}
	switch {
	case blocked(f.Attempt):
		return NameBlocked
	case f.Attempt.Failure == Unreachable:
		return NoWay
	case f.Attempt.Failure == Refused:
		return ServiceRefused
	case f.Attempt.Failure == Cut:
		return ServiceCut
	default:
		return ServiceSilent
	}
}

func shaking(f Findings) Cause {
	a := f.Attempt
	if a.Failure == PlainHTTP {
		switch {
		case a.HTTP.Proxy:
			return ProxyBetween
		case a.HTTP.Location != "", a.HTTP.Status == 511, a.HTTP.Page:
			return LoginPage
		}
	}
	// Dates that are wrong on a chain that is otherwise the service's own are no
	// login page's.
	if a.Failure == Dates {
		return dates(f)
	}
	if c := between(f); c != "" {
		return c
	}
	switch a.Failure {
	case TimedOut:
		return ServiceSilent
	case Cut:
		return ServiceCut
	case Authority:
		return CertAuthority
	case OtherHost:
		return CertHost
	case OtherPin:
		return CertPin
	case NoTLS13:
		return TLSRefused
	case PlainHTTP, OtherProtocol:
		return NotTLS
	default:
		return CertOther
	}
}

// dates tells a clock that is wrong from a certificate that is: the account
// service's own signed time decides, where there is one.
func dates(f Findings) Cause {
	switch used := f.Clock.Used(); {
	case !f.Clock.Signed.IsZero():
		return CertDates
	case used.Before(f.Attempt.From):
		return ClockBehind
	default:
		return ClockAhead
	}
}

func answering(a Attempt) Cause {
	switch a.Failure {
	case BadSignature:
		return Forged
	case TimedOut:
		return ServiceSlow
	case Cut:
		return ServiceCut
	case TooLarge:
		return ServiceTooLarge
	case OtherVersions, UnknownStep:
		return ServiceVersion
	case Status:
		return status(a.Status)
	default:
		return ServiceGarbled
	}
}

func status(s int) Cause {
	switch {
	case s >= 500, s == 429, s == 408:
		return ServiceError
	case s >= 300 && s < 400:
		return ServiceElse
	case s >= 200 && s < 300:
		return ServiceGarbled
	default:
		return ServiceNotAPI
	}
}

// between returns what stands between the device and the service, going by the
// answers to questions in plain text.
func between(f Findings) Cause {
	p := f.Portal
	// Only a peer that was heard and is not the service makes a page for any path
	// suspicious: the service's host may have such a site.
	stranger := f.Attempt.Stage == Handshake && f.Attempt.Failure != TimedOut && f.Attempt.Failure != Cut
	switch {
	case p.Host.Proxy, p.Nobody.Proxy:
		return ProxyBetween
	case p.Host.Location != "", p.Host.Status == 511, p.Nobody.Status != 0, p.MadeUp, p.Host.Page && stranger, f.Network.ManagerPortal:
		return LoginPage
	default:
		return ""
	}
}

// blocked reports whether the name servers gave a name to no address, or to the
// device's own, as lists that block do.
func blocked(a Attempt) bool {
	if _, err := netip.ParseAddr(a.Host); err == nil || a.Host == "localhost" || strings.HasSuffix(a.Host, ".localhost") || len(a.Addresses) == 0 {
		return false
	}
	return !slices.ContainsFunc(a.Addresses, func(i netip.Addr) bool { return !i.IsLoopback() && !i.IsUnspecified() })
}

// anyLocal reports whether one of the addresses is the machine's own.
func anyLocal(in []netip.Addr) bool {
	return slices.ContainsFunc(in, func(i netip.Addr) bool { return i.IsLoopback() || i.IsUnspecified() })
}

// describe adds the evidence, and puts into the sentences what makes them exact.
func (v *Verdict) describe(f Findings) {
	a := f.Attempt
	v.set("host", a.Host)
	if a.Failure != "" {
		v.set("found", string(a.Failure))
	}
	if len(a.Addresses) > 0 {
		v.set("addresses", join(a.Addresses))
	}
	if a.Status != 0 {
		v.set("status", strconv.Itoa(a.Status))
	}
	v.set("issuer", plain(a.Issuer, 100))
	switch v.Cause {
	case NetworkOff:
		v.set("switched-off", f.Network.Switched)
	case NamesSilent, NamesFail, NameUnknown, NameBlocked:
		v.set("name-servers", join(f.Network.NameServers))
	case LoginPage:
		if u := loginPage(f); u != "" {
			v.set("url", u)
			v.Remedy = fmt.Sprintf("Open its login page, %s, or change to another network.", u)
		}
	case ClockBehind, ClockAhead, CertDates:
		v.clock(f)
	}
}

func (v *Verdict) set(key, value string) {
	if value != "" {
		v.Details[key] = value
	}
}

// clock says what the clock is and why that cannot be, and who sets it.
func (v *Verdict) clock(f Findings) {
	c, a := f.Clock, f.Attempt
	v.set("clock", stamp(c.System))
	v.set("certificate-from", stamp(a.From))
	v.set("certificate-to", stamp(a.To))
	v.set("trusted-time", stamp(c.Floor))
	v.set("signed-time", stamp(c.Signed))
	v.set("built", stamp(c.Built))
	v.set("set-by", c.Setter)
	v.set("synchronised", strconv.FormatBool(c.Synced))
	if v.Cause == CertDates {
		return
	}
	v.Message = fmt.Sprintf("This device's clock says %s, but the account service's certificate is good from %s to %s.", stamp(c.System), stamp(a.From), stamp(a.To))
	if earliest := later(c.Floor, c.Built); c.System.Before(earliest) {
		v.Message = fmt.Sprintf("This device's clock says %s, and it is %s or later; the account service's certificate is good from %s to %s.",
			stamp(c.System), stamp(earliest), stamp(a.From), stamp(a.To))
	}
	v.Remedy = SetBy(c)
}

// SetBy says what sets the clock, and what to do until it has.
func SetBy(c Clock) string {
	switch {
	case c.Setter != "" && c.Synced:
		return fmt.Sprintf("%s keeps the clock and says that it is right: check the date, or change to another network.", c.Setter)
	case c.Setter != "":
		return fmt.Sprintf("%s sets the clock once it reaches a time server; try again in a minute, or set the clock by hand.", c.Setter)
	default:
		return "Nothing is known to set the clock of this device: set it by hand, then try again."
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// loginPage is where a browser gets to the login page.
func loginPage(f Findings) string {
	for _, u := range []string{f.Attempt.HTTP.Location, f.Portal.Host.Location, f.Portal.Nobody.Location, f.Portal.URL} {
		if u := Page(u); u != "" {
			return u
		}
	}
	return ""
}

// maxPage bounds a login page's address, in bytes.
const maxPage = 1000

// Page returns u if it is an address that may be shown and opened: http or
// https, without a user name, without characters that show as something else.
func Page(u string) string {
	p, err := url.Parse(u)
	if err != nil || len(u) > maxPage || p.Host == "" || p.User != nil || (p.Scheme != "http" && p.Scheme != "https") {
		return ""
	}
	if strings.ContainsFunc(u, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsGraphic(r) || r == ' ' || r == '"' || r == '<' || r == '>'
	}) {
		return ""
	}
	return p.String()
}

func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if r := []rune(s); len(r) > most {
		s = string(r[:most])
	}
	return s
}

func join(in []netip.Addr) string {
	out := make([]string, 0, len(in))
	for _, a := range in {
		out = append(out, a.String())
	}
	return strings.Join(out, " ")
}
