// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/diagnose"
	"github.com/accountlock/accountlock/internal/fault"
)

// The results of a check.
const (
	resultOK      = "ok"
	resultWarning = "warning"
	resultFailed  = "failed"
	resultSkipped = "skipped"
)

// checkNetwork says what the machine's own network looks like, from the bottom up.
// Nothing is sent.
func (r *report) checkNetwork(n diagnose.Network) []bus.Check {
	if !n.Known {
		return []bus.Check{{Name: "network", Result: resultSkipped, Message: "The kernel does not say what the network looks like."}}
	}
	lacks := diagnose.Local(n)
	row := func(name, good string, bad ...diagnose.Cause) bus.Check {
		c := bus.Check{Name: name, Result: resultOK, Message: good, Details: map[string]string{}}
		for _, b := range bad {
			if lacks == b {
				e := diagnose.Verdict{Entry: diagnose.Named(b)}
				c.Result, c.Message = resultFailed, e.Message
				c.Details["cause"], c.Details["remedy"] = string(b), e.Remedy
			}
		}
		return c
	}
	link := row("network interface", "A network interface is connected.", diagnose.NoInterface, diagnose.NoCarrier, diagnose.NetworkOff)
	address := row("network address", "The device has an address.", diagnose.NoAddress)
	route := row("network route", "There is a way out of the network.", diagnose.NoRoute)
	for _, i := range n.Interfaces {
		link.Details[i.Name] = fmt.Sprintf("up=%t carrier=%t", i.Up, i.Carrier)
		if len(i.Addresses) > 0 {
			var all []string
			for _, a := range i.Addresses {
				all = append(all, a.String())
			}
			address.Details[i.Name] = strings.Join(all, " ")
		}
	}
	maps.Copy(link.Details, n.Managers)
	route.Details["ipv4"], route.Details["ipv6"] = yes(n.Route4), yes(n.Route6)
	if link.Result == resultFailed {
		address.Result, address.Message = resultSkipped, "No interface is connected."
	}
	if link.Result == resultFailed || address.Result == resultFailed {
		route.Result, route.Message = resultSkipped, "There is no address."
	}
	return []bus.Check{link, address, route, checkNameServers(n)}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func checkNameServers(n diagnose.Network) bus.Check {
	c := bus.Check{Name: "name servers", Result: resultOK, Message: "The resolver knows a name server.", Details: map[string]string{}}
	for i, s := range n.NameServers {
		c.Details[fmt.Sprintf("server-%d", i)] = s.String()
	}
	if len(n.NameServers) == 0 {
		c.Result, c.Message = resultWarning, "The resolver knows no name server; only addresses can be reached."
	}
	return c
}

// clockSlack is how far a clock may be from the service's time before it is
// called wrong.
const clockSlack = 5 * time.Minute

// checkClock compares the clock with all that is known of the time.
func (r *report) checkClock(ctx context.Context) bus.Check {
	k := r.parts.around.Clock(ctx)
	c := bus.Check{Name: "clock", Result: resultOK, Message: "The clock is not behind anything that is known of the time.", Details: map[string]string{
		"clock": k.System.UTC().Format(time.RFC3339), "synchronised": yes(k.Synced),
	}}
	for key, t := range map[string]time.Time{"trusted-time": k.Floor, "signed-time": k.Signed, "built": k.Built} {
		if !t.IsZero() {
			c.Details[key] = t.UTC().Format(time.RFC3339)
		}
	}
	if k.Setter != "" {
		c.Details["set-by"] = k.Setter
	}
	wrong := ""
	switch off := k.System.Sub(k.Signed); {
	case !k.Signed.IsZero() && max(off, -off) <= clockSlack:
		c.Message = "The clock agrees with the account service's signed time."
	case !k.Signed.IsZero() && off > 0:
		wrong = "The clock is ahead of the account service's signed time."
	case !k.Signed.IsZero():
		wrong = "The clock is behind the account service's signed time."
	case k.System.Before(k.Floor):
		wrong = "The clock is behind the account service's last signed time."
	case k.System.Before(k.Built):
		wrong = "The clock is before this program was made."
	}
	if wrong != "" {
		c.Result, c.Message = resultFailed, wrong+" Certificates are checked by the trusted time instead."
		c.Details["remedy"] = diagnose.SetBy(k)
	}
	return c
}

// serviceTime bounds the question to the account service, so that the verdict is
// there within ten seconds.
const serviceTime = 8 * time.Second

// checkService asks for something that needs no device and no secret. Its details
// say what is the matter: `error`, `cause`, `remedy`, and a login page's `url`.
func (r *report) checkService(ctx context.Context, ask bool) bus.Check {
	c := bus.Check{Name: "account service"}
	switch {
	case !r.Config.Provisioned():
		c.Result, c.Message = resultSkipped, "None is configured."
		return c
	case !ask:
		c.Result, c.Message = resultSkipped, "It was asked often enough for the moment."
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	_, err := r.parts.askSupport(ctx, "") // and not what is remembered of it
	r.parts.keeper.NoteContact(err)
	if err == nil {
		c.Result, c.Message = resultOK, "It answers and is trusted."
		return c
	}
	f := fault.As(err)
	c.Result, c.Message = resultFailed, f.Message+" "+f.Remedy
	c.Details = map[string]string{"error": string(f.Code), "remedy": f.Remedy}
	maps.Copy(c.Details, f.Details)
	return c
}
