// SPDX-License-Identifier: Apache-2.0

package diagnose

import "github.com/accountlock/accountlock/internal/fault"

// Cause names what is the matter, more closely than a fault's code.
type Cause string

// The causes. The names are shown in `Diagnose` as the detail `cause`.
const (
	NoInterface     Cause = "no-interface"
	NetworkOff      Cause = "network-off"
	NoCarrier       Cause = "no-carrier"
	NoAddress       Cause = "no-address"
	NoRoute         Cause = "no-route"
	NoWay           Cause = "no-way"
	NoNameServer    Cause = "no-name-server"
	NamesSilent     Cause = "name-server-silent"
	NamesFail       Cause = "name-server-fails"
	NameUnknown     Cause = "name-unknown"
	NameBlocked     Cause = "name-blocked"
	LoginPage       Cause = "login-page"
	ProxyBetween    Cause = "proxy"
	ClockBehind     Cause = "clock-behind"
	ClockAhead      Cause = "clock-ahead"
	CertDates       Cause = "certificate-dates"
	CertAuthority   Cause = "certificate-authority"
	CertHost        Cause = "certificate-host"
	CertPin         Cause = "certificate-pin"
	CertOther       Cause = "certificate-other"
	TLSRefused      Cause = "tls-refused"
	NotTLS          Cause = "not-tls"
	Forged          Cause = "forged-signature"
	ServiceRefused  Cause = "service-refused"
	ServiceSilent   Cause = "service-silent"
	ServiceCut      Cause = "service-cut"
	ServiceSlow     Cause = "service-slow"
	ServiceError    Cause = "service-error"
	ServiceElse     Cause = "service-elsewhere"
	ServiceVersion  Cause = "service-version"
	ServiceNotAPI   Cause = "service-not-the-api"
	ServiceTooLarge Cause = "service-too-large"
	ServiceGarbled  Cause = "service-garbled"
)

// Entry is what there is to say of a cause. The same stands in docs/diagnosis.md.
type Entry struct {
	Cause Cause
	Code  fault.Code
	// Evidence is what the verdict rests on.
	Evidence string
	// Message and Remedy are for people. HOST stands for the account service's name.
	Message, Remedy string
}

const (
	chooseNetwork = "Choose a network, or use a way that needs none: the recovery code or an offline code."
	notYou        = "This is not a password problem, and nothing was sent: change to another network and try again."
	byItself      = "Nothing is wrong with your password. The device asks again by itself, at least once a minute."
	askVendor     = "Nothing is wrong with your password. Ask support: the device and the account service must be brought in step."
)

// Causes is the closed list, in the order of a call's way from the device to the
// account service.
func Causes() []Entry { return append([]Entry(nil), entries...) }

var entries = []Entry{
	{NoInterface, fault.NetworkUnavailable, "no name resolved or no way; the kernel lists no interface but the loopback", "This device has no network interface that works.", "Plug in a network adapter, or use a way that needs no network: the recovery code or an offline code."},
	{NetworkOff, fault.NetworkUnavailable, "as below; NetworkManager says that networking or Wi-Fi is switched off", "Networking or Wi-Fi is switched off on this device.", "Switch it on, or use a way that needs no network: the recovery code or an offline code."},
	{NoCarrier, fault.NetworkUnavailable, "no name resolved or no way; no interface is up with a carrier", "This device is connected to no network.", "Plug in the cable, or choose a Wi-Fi network; the recovery code and an offline code need none."},
	{NoAddress, fault.NetworkUnavailable, "no name resolved or no way; no connected interface has an address beyond its link (RFC 3927, RFC 4291)", "This device is connected to a network, but has got no address there.", "Restart the router, or choose another network; the recovery code and an offline code need none."},
	{NoRoute, fault.NetworkUnavailable, "no name resolved or no way; there is an address and no default route", "This device has an address on its network, but no way out of it.", "Restart the router, or choose another network; the recovery code and an offline code need none."},
	{NoNameServer, fault.NetworkUnavailable, "no name resolved; neither resolv.conf(5) nor systemd-resolved names a server", "This network has named no name server (DNS), so HOST cannot be found.", chooseNetwork},
	{NamesSilent, fault.NetworkUnavailable, "the name servers did not answer in time", "The name servers (DNS) of this network do not answer, so HOST cannot be found.", chooseNetwork},
	{NamesFail, fault.NetworkUnavailable, "the name servers answered with a failure, or refused the question", "The name servers (DNS) of this network could not find out where HOST is.", chooseNetwork},
	{NameUnknown, fault.NetworkUnavailable, "the name servers say that the name does not exist", "The name servers (DNS) of this network say that there is no HOST.", chooseNetwork},
	{NameBlocked, fault.NetworkUnavailable, "the name servers gave only addresses that can not be the service's: none, or the device's own", "The name servers (DNS) of this network keep HOST from being reached.", chooseNetwork},
	{NoWay, fault.NetworkUnavailable, "connect(2): ENETUNREACH or EHOSTUNREACH although there is a default route", "This network has no way to HOST.", chooseNetwork},
	{LoginPage, fault.CaptivePortal, "plain HTTP answers 511 or a redirect to another host; or something answers at 192.0.2.1, which is nobody's; or a name below .invalid resolves; or the peer is not the service and answers any path with a page; or NetworkManager says so", "This network wants you to sign in to it first.", "Open its login page, or change to another network."},
	{ProxyBetween, fault.NetworkUnavailable, "an answer in plain HTTP names itself a proxy's (407, Via, Proxy-Authenticate)", "A proxy answers in place of HOST, and this device does not use one.", "Have the network let the device reach HOST directly, or change to another network."},
	{ClockBehind, fault.ClockWrong, "only the certificate's dates are wrong, and begin after the time in use", "This device's clock is behind the account service's certificate.", "Let the device set its clock, then try again."},
	{ClockAhead, fault.ClockWrong, "only the certificate's dates are wrong, and end before the time in use", "This device's clock is ahead of the account service's certificate.", "Let the device set its clock, then try again."},
	{CertDates, fault.ServiceUntrusted, "the certificate's dates are wrong by the time that the account service itself signed", "HOST shows a certificate that is out of date by the account service's own signed time.", "This is not a password problem: change to another network; if it comes back, tell support."},
	{CertAuthority, fault.ServiceUntrusted, "no trusted authority has signed the certificate", "What answered for HOST shows a certificate that nobody this device trusts has signed.", notYou},
	{CertHost, fault.ServiceUntrusted, "the certificate is for another name", "What answered for HOST shows another host's certificate.", notYou},
	{CertPin, fault.ServiceUntrusted, "the certificate is signed rightly, and none of its keys is pinned", "What answered for HOST shows a certificate with none of the keys that this device insists on.", notYou},
	{CertOther, fault.ServiceUntrusted, "the certificate is wrong in another way", "What answered for HOST shows a certificate that cannot be used.", notYou},
	{TLSRefused, fault.ServiceUntrusted, "the peer refuses TLS 1.3 or its signature does not fit", "What answered for HOST does not speak the encryption that the account service must.", notYou},
	{NotTLS, fault.ServiceUntrusted, "the peer speaks no TLS", "What answered for HOST is not encrypted, and is no account service.", notYou},
	{Forged, fault.ServiceUntrusted, "a grant, statement or key set is signed by no key of the service", "What answered could not prove that it is the account service: its signature is wrong.", notYou},
	{ServiceRefused, fault.ServiceUnavailable, "connect(2): ECONNREFUSED, and no login page", "The account service at HOST is not running.", byItself},
	{ServiceSilent, fault.ServiceUnavailable, "there is a network, and neither the connection nor TLS was answered in time", "The account service at HOST does not answer.", byItself},
	{ServiceCut, fault.ServiceUnavailable, "the connection was closed or reset before the answer was whole", "The connection to the account service was cut.", byItself},
	{ServiceSlow, fault.ServiceUnavailable, "the service accepted the question and gave no answer in time", "The account service took too long to answer.", byItself},
	{ServiceError, fault.ServiceUnavailable, "HTTP 5xx or 429 without a problem of the account API", "The account service has a failure of its own.", byItself},
	{ServiceElse, fault.ServiceUnavailable, "HTTP 3xx: a signed request follows no redirect", "The account service sends this device elsewhere, which it does not follow.", askVendor},
	{ServiceVersion, fault.ServiceUnavailable, "the service names the versions that it serves, or asks for a step that this version does not know", "The account service and this device do not speak the same version of the account API.", askVendor},
	{ServiceNotAPI, fault.ServiceUnavailable, "another HTTP status without a problem of the account API", "What answers at HOST is not the account API.", askVendor},
	{ServiceTooLarge, fault.ServiceUnavailable, "an answer beyond its bound", "The account service's answer is larger than any that it may give.", byItself},
	{ServiceGarbled, fault.ServiceUnavailable, "an answer that is not what the account API promises", "The account service's answer cannot be understood.", byItself},
}

// Named returns what there is to say of a cause, without a case's own figures.
func Named(c Cause) Entry {
	for _, e := range entries {
		if e.Cause == c {
			return e
		}
	}
	return Entry{Cause: c, Code: fault.Internal}
}
