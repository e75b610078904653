// SPDX-License-Identifier: Apache-2.0

package diagnose_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
)

const host = "accounts.example"

var (
	public = netip.MustParseAddr("203.0.113.7")
	prefix = netip.MustParsePrefix("192.0.2.10/24")
	server = netip.MustParseAddr("192.0.2.1")
	today  = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
)

// Networks, from the bottom up.
func bare() diagnose.Network { return diagnose.Network{Known: true} }

func wired(carrier bool, addresses ...netip.Prefix) diagnose.Network {
	return diagnose.Network{Known: true, NameServers: []netip.Addr{server}, Interfaces: []diagnose.Interface{
		{Name: "eth0", Up: true, Carrier: carrier, Addresses: addresses}, {Name: "wlan0"},
	}}
}

func whole() diagnose.Network {
	n := wired(true, prefix)
	n.Route4 = true
	return n
}

func TestEachCauseIsFoundFromItsEvidence(t *testing.T) {
	off := wired(false)
	off.Switched = "wireless"
	nameless := whole()
	nameless.NameServers = nil
	managed := whole()
	managed.ManagerPortal = true
	resolve := func(f diagnose.Failure) diagnose.Attempt {
		return diagnose.Attempt{Stage: diagnose.Resolve, Failure: f, Host: host}
	}
	connect := func(f diagnose.Failure, to ...netip.Addr) diagnose.Attempt {
		if len(to) == 0 {
			to = []netip.Addr{public}
		}
		return diagnose.Attempt{Stage: diagnose.Connect, Failure: f, Host: host, Addresses: to}
	}
	shake := func(f diagnose.Failure) diagnose.Attempt {
		return diagnose.Attempt{Stage: diagnose.Handshake, Failure: f, Host: host, From: today.AddDate(0, -1, 0), To: today.AddDate(0, 1, 0)}
	}
	answer := func(f diagnose.Failure) diagnose.Attempt {
		return diagnose.Attempt{Stage: diagnose.Answer, Failure: f, Host: host}
	}
	status := func(s int) diagnose.Attempt {
		return diagnose.Attempt{Stage: diagnose.Answer, Failure: diagnose.Status, Status: s, Host: host}
	}
	plain := func(p diagnose.Plain) diagnose.Attempt {
		a := shake(diagnose.PlainHTTP)
		a.HTTP = p
		return a
	}
	away := diagnose.Plain{Status: 302, Location: "http://login.example/?from=x"}
	page := diagnose.Plain{Status: 200, Page: true}
	clock := func(at time.Time) diagnose.Clock { return diagnose.Clock{System: at} }
	self := netip.MustParseAddr("127.0.0.1")
	found := map[diagnose.Cause]bool{}
	for _, c := range []struct {
		name string
		in   diagnose.Findings
		want diagnose.Cause
	}{
		{"a machine without an interface", diagnose.Findings{Attempt: resolve(diagnose.ServerFailed), Network: bare()}, diagnose.NoInterface},
		{"no way is the missing interface's, too", diagnose.Findings{Attempt: connect(diagnose.Unreachable), Network: bare()}, diagnose.NoInterface},
		{"a pulled cable", diagnose.Findings{Attempt: resolve(diagnose.TimedOut), Network: wired(false)}, diagnose.NoCarrier},
		{"a radio that is switched off", diagnose.Findings{Attempt: resolve(diagnose.TimedOut), Network: off}, diagnose.NetworkOff},
		{"a network that gave no address", diagnose.Findings{Attempt: resolve(diagnose.ServerFailed), Network: wired(true)}, diagnose.NoAddress},
		{"a network without a way out", diagnose.Findings{Attempt: connect(diagnose.Unreachable), Network: wired(true, prefix)}, diagnose.NoRoute},
		{"a cached name does not hide the missing way", diagnose.Findings{Attempt: resolve(diagnose.NoSuchName), Network: wired(true, prefix)}, diagnose.NoRoute},
		{"a network without name servers", diagnose.Findings{Attempt: resolve(diagnose.ServerFailed), Network: nameless}, diagnose.NoNameServer},
		{"silent name servers", diagnose.Findings{Attempt: resolve(diagnose.TimedOut), Network: whole()}, diagnose.NamesSilent},
		{"name servers that fail", diagnose.Findings{Attempt: resolve(diagnose.ServerFailed), Network: whole()}, diagnose.NamesFail},
		{"a name that is not there", diagnose.Findings{Attempt: resolve(diagnose.NoSuchName), Network: whole()}, diagnose.NameUnknown},
		{"a network that nobody can look at is not judged", diagnose.Findings{Attempt: resolve(diagnose.NoSuchName)}, diagnose.NameUnknown},
		{"a name led to the device itself", diagnose.Findings{Attempt: connect(diagnose.Refused, self), Network: whole()}, diagnose.NameBlocked},
		{"a name led to nowhere", diagnose.Findings{Attempt: connect(diagnose.Refused, netip.IPv4Unspecified()), Network: whole()}, diagnose.NameBlocked},
		{"a network that has no way there", diagnose.Findings{Attempt: connect(diagnose.Unreachable), Network: whole()}, diagnose.NoWay},
		{"a redirect in plain text", diagnose.Findings{Attempt: connect(diagnose.TimedOut), Network: whole(), Portal: diagnose.Portal{Asked: true, Host: away}}, diagnose.LoginPage},
		{"status 511", diagnose.Findings{Attempt: shake(diagnose.Authority), Portal: diagnose.Portal{Asked: true, Host: diagnose.Plain{Status: 511}}}, diagnose.LoginPage},
		{"an answer where nobody is", diagnose.Findings{Attempt: connect(diagnose.Refused), Network: whole(), Portal: diagnose.Portal{Nobody: page}}, diagnose.LoginPage},
		{"a name that cannot be", diagnose.Findings{Attempt: connect(diagnose.Refused), Network: whole(), Portal: diagnose.Portal{MadeUp: true}}, diagnose.LoginPage},
		{"a page for any path from a stranger", diagnose.Findings{Attempt: shake(diagnose.Authority), Portal: diagnose.Portal{Host: page}}, diagnose.LoginPage},
		{"a page for any path beside a service that is down proves nothing", diagnose.Findings{Attempt: connect(diagnose.Refused), Network: whole(), Portal: diagnose.Portal{Host: page}}, diagnose.ServiceRefused},
		{"a page where TLS should be", diagnose.Findings{Attempt: plain(page)}, diagnose.LoginPage},
		{"a redirect where TLS should be", diagnose.Findings{Attempt: plain(away)}, diagnose.LoginPage},
		{"NetworkManager's word", diagnose.Findings{Attempt: connect(diagnose.TimedOut), Network: managed}, diagnose.LoginPage},
		{"a proxy on the way", diagnose.Findings{Attempt: plain(diagnose.Plain{Status: 407, Proxy: true})}, diagnose.ProxyBetween},
		{"a proxy in plain text", diagnose.Findings{Attempt: connect(diagnose.TimedOut), Network: whole(), Portal: diagnose.Portal{Host: diagnose.Plain{Status: 403, Proxy: true}}}, diagnose.ProxyBetween},
		{"a device at 1970", diagnose.Findings{Attempt: shake(diagnose.Dates), Clock: clock(time.Unix(0, 0))}, diagnose.ClockBehind},
		{"a device years ahead", diagnose.Findings{Attempt: shake(diagnose.Dates), Clock: clock(today.AddDate(5, 0, 0))}, diagnose.ClockAhead},
		{"a certificate that the service's own time has outlived", diagnose.Findings{Attempt: shake(diagnose.Dates), Clock: diagnose.Clock{System: time.Unix(0, 0), Signed: today.AddDate(1, 0, 0)}}, diagnose.CertDates},
		{"dates are no login page's", diagnose.Findings{Attempt: shake(diagnose.Dates), Clock: clock(time.Unix(0, 0)), Portal: diagnose.Portal{Host: away}}, diagnose.ClockBehind},
		{"a stranger's certificate", diagnose.Findings{Attempt: shake(diagnose.Authority)}, diagnose.CertAuthority},
		{"another host's certificate", diagnose.Findings{Attempt: shake(diagnose.OtherHost)}, diagnose.CertHost},
		{"a key that is not pinned", diagnose.Findings{Attempt: shake(diagnose.OtherPin)}, diagnose.CertPin},
		{"a certificate for something else", diagnose.Findings{Attempt: shake(diagnose.OtherCertificate)}, diagnose.CertOther},
		{"old TLS", diagnose.Findings{Attempt: shake(diagnose.NoTLS13)}, diagnose.TLSRefused},
		{"another protocol", diagnose.Findings{Attempt: shake(diagnose.OtherProtocol)}, diagnose.NotTLS},
		{"plain HTTP that is no page", diagnose.Findings{Attempt: plain(diagnose.Plain{Status: 400})}, diagnose.NotTLS},
		{"a signature of somebody else", diagnose.Findings{Attempt: answer(diagnose.BadSignature)}, diagnose.Forged},
		{"a refused connection", diagnose.Findings{Attempt: connect(diagnose.Refused), Network: whole()}, diagnose.ServiceRefused},
		{"a service on this very machine needs no network", diagnose.Findings{Attempt: diagnose.Attempt{Stage: diagnose.Connect, Failure: diagnose.Refused, Host: "127.0.0.1", Addresses: []netip.Addr{self}}, Network: bare()}, diagnose.ServiceRefused},
		{"a silent service", diagnose.Findings{Attempt: connect(diagnose.TimedOut), Network: whole()}, diagnose.ServiceSilent},
		{"a silent handshake", diagnose.Findings{Attempt: shake(diagnose.TimedOut)}, diagnose.ServiceSilent},
		{"a cut handshake", diagnose.Findings{Attempt: shake(diagnose.Cut)}, diagnose.ServiceCut},
		{"a cut answer", diagnose.Findings{Attempt: answer(diagnose.Cut)}, diagnose.ServiceCut},
		{"a slow answer", diagnose.Findings{Attempt: answer(diagnose.TimedOut)}, diagnose.ServiceSlow},
		{"an answer too large", diagnose.Findings{Attempt: answer(diagnose.TooLarge)}, diagnose.ServiceTooLarge},
		{"a garbled answer", diagnose.Findings{Attempt: answer(diagnose.Garbled)}, diagnose.ServiceGarbled},
		{"status 200 without what was promised", diagnose.Findings{Attempt: status(200)}, diagnose.ServiceGarbled},
		{"status 302", diagnose.Findings{Attempt: status(302)}, diagnose.ServiceElse},
		{"status 404", diagnose.Findings{Attempt: status(404)}, diagnose.ServiceNotAPI},
		{"status 502", diagnose.Findings{Attempt: status(502)}, diagnose.ServiceError},
		{"a service of another version", diagnose.Findings{Attempt: answer(diagnose.OtherVersions)}, diagnose.ServiceVersion},
		{"a step of another version", diagnose.Findings{Attempt: answer(diagnose.UnknownStep)}, diagnose.ServiceVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := diagnose.Of(c.in)
			if v.Cause != c.want {
				t.Fatalf("got %s, want %s", v.Cause, c.want)
			}
			f := v.Fault(nil)
			if f.Code == fault.Internal || f.Message == "" || f.Remedy == "" || f.Counted || f.Cause != string(c.want) {
				t.Fatalf("got %+v", f)
			}
			if strings.Contains(f.Message+f.Remedy, "HOST") || strings.Contains(strings.ToLower(f.Message), "user name") {
				t.Fatalf("%q %q", f.Message, f.Remedy)
			}
		})
		found[c.want] = true
	}
	for _, e := range diagnose.Causes() {
		if !found[e.Cause] {
			t.Errorf("no row ends at %s", e.Cause)
		}
	}
}

func TestAClockIsNamedWithWhatItIsComparedWith(t *testing.T) {
	a := diagnose.Attempt{Stage: diagnose.Handshake, Failure: diagnose.Dates, Host: host, From: today, To: today.AddDate(0, 3, 0)}
	for _, c := range []struct {
		name  string
		clock diagnose.Clock
		want  []string
	}{
		{"1970", diagnose.Clock{System: time.Unix(60, 0), Built: today.AddDate(-1, 0, 0)}, []string{"1970-01-01 00:01", "2025-11-25", "2026-11-25", "by hand"}},
		{"years ahead", diagnose.Clock{System: today.AddDate(5, 0, 0), Setter: "systemd-timesyncd"}, []string{"2031-11-25", "systemd-timesyncd sets the clock"}},
		{"kept in step", diagnose.Clock{System: today.AddDate(5, 0, 0), Setter: "systemd-timesyncd", Synced: true}, []string{"says that it is right"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := diagnose.Of(diagnose.Findings{Attempt: a, Clock: c.clock}).Fault(nil)
			for _, want := range c.want {
				if !strings.Contains(f.Message+" "+f.Remedy, want) {
					t.Errorf("%q is not in %q %q", want, f.Message, f.Remedy)
				}
			}
		})
	}
}

func TestALoginPagesAddressIsOneThatMayBeOpened(t *testing.T) {
	for in, want := range map[string]string{
		"http://login.example/a?b=c":                        "http://login.example/a?b=c",
		"https://10.0.0.1:8080/":                            "https://10.0.0.1:8080/",
		"javascript:alert(1)":                               "",
		"file:///etc/passwd":                                "",
		"http://user@login.example/":                        "",
		"http://login.example/\x1b[2J":                      "",
		"http://l\u202eogin.example/":                       "",
		"http://login.example/" + strings.Repeat("x", 1000): "",
		"//login.example/":                                  "",
	} {
		if got := diagnose.Page(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzPage(f *testing.F) {
	for _, seed := range []string{"http://login.example/a?b=c#d", "https://[::1]:1/", "http://a@b/", "http:///x", "javascript:x", "http://x/%zz", "HTTP://X"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := diagnose.Page(in)
		if out == "" {
			return
		}
		u, err := url.Parse(out)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.Host == "" || len(out) > 3*1000 {
			t.Fatalf("%q became %q", in, out)
		}
		for _, r := range out {
			if r <= ' ' || r > '~' || r == '"' || r == '<' || r == '>' {
				t.Fatalf("%q became %q", in, out)
			}
		}
	})
}
