// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"sync"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/flow"
)

// maxRegions bounds what is remembered: any caller may name regions.
const maxRegions = 16

// contacts remembers how support is reached: who cannot reach the account service
// needs it most.
type contacts struct {
	mu       sync.Mutex
	byRegion map[string][]flow.Contact
}

// keep remembers what the account service said.
func (c *contacts) keep(region string, list []flow.Contact) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.byRegion[region]; !known && len(c.byRegion) >= maxRegions {
		return
	}
	if c.byRegion == nil {
		c.byRegion = map[string][]flow.Contact{}
	}
	c.byRegion[region] = list
}

func (c *contacts) of(region string) ([]flow.Contact, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, ok := c.byRegion[region]
	return list, ok
}

// Support implements bus.Supporter. Where the account service is out of reach, the
// contacts that it named last are good.
func (p *parts) Support(ctx context.Context, region string) ([]flow.Contact, error) {
	list, err := p.askSupport(ctx, region)
	switch fault.CodeOf(err) {
	case "":
		p.contacts.keep(region, list)
	case fault.NetworkUnavailable, fault.CaptivePortal, fault.ClockWrong, fault.ServiceUnavailable, fault.ServiceUntrusted:
		if known, ok := p.contacts.of(region); ok {
			return known, nil
		}
	}
	return list, err
}

// askSupport asks the account service itself. Contacts are no secret: a clock that is
// wrong keeps nobody from them.
func (p *parts) askSupport(ctx context.Context, region string) (list []flow.Contact, err error) {
	err = p.keeper.InTime(ctx, func() error {
		list, err = p.service.Support(ctx, region)
		return err
	})
	return list, err
}
