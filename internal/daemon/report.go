// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/internal/flow"
	"github.com/accountlock/accountlock/internal/lock"
	"github.com/accountlock/accountlock/internal/record"
)

// report answers Explain and Diagnose. It holds no secret, and shows none.
type report struct {
	Options

	evidence lock.Evidence
	store    *record.Store
	parts    *parts
	// serviceErr is what is wrong with the account service's configuration.
	serviceErr error

	mu     sync.Mutex
	server *bus.Server
}

var _ bus.Reporter = (*report)(nil)

func newReport(o Options, e lock.Evidence, s *record.Store, p *parts, serr error) *report {
	return &report{Options: o, evidence: e, store: s, parts: p, serviceErr: serr}
}

func (r *report) online(s *bus.Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = s
}

// Explain implements bus.Reporter: the deciding rule first, then what it rests
// on.
func (r *report) Explain() []bus.Fact {
	s := r.parts.keeper.Snapshot()
	boot := lock.Decide(r.evidence)
	reading := r.store.Read()
	facts := []bus.Fact{
		{Name: "state", Source: "rule", Details: map[string]string{"state": string(s.Status.State), "reason": string(s.Status.Reason), "rule": s.Rule}},
		{Name: "at-start", Source: "rule", Details: map[string]string{"state": string(boot.Status.State), "reason": string(boot.Status.Reason), "rule": boot.Rule}},
		{Name: "record", Source: "record store", Details: r.recordDetails(reading)},
		{Name: "tpm", Source: "TPM", Details: r.tpmDetails(reading)},
		{Name: "marker", Source: "state directory", Details: map[string]string{
			"present-at-start": strconv.FormatBool(len(r.evidence.Marker) > 0),
			"matched-at-start": strconv.FormatBool(lock.MarkerMatches(r.evidence.Record, r.evidence.Marker)),
		}},
		{Name: "policy", Source: "configuration", Details: map[string]string{
			"provisioned": strconv.FormatBool(r.Config.Provisioned()), "missing_record": string(r.evidence.Policy),
		}},
		{Name: "account service", Source: "last contact", Details: map[string]string{
			"connectivity": string(s.Connectivity), "last-check-in": strconv.FormatInt(s.LastCheckIn, 10),
		}},
		{Name: "statement", Source: "account service", Details: statedDetails(s.Stated)},
	}
	return facts
}

// statedDetails name no link: anybody may ask why the state is what it is.
func statedDetails(s flow.Stated) map[string]string {
	if s.Status == "" {
		return map[string]string{"status": "none since the start"}
	}
	return map[string]string{"status": string(s.Status), "signed": strconv.FormatInt(s.Time, 10), "about-this-record": strconv.FormatBool(s.Taken)}
}

func (r *report) recordDetails(reading record.Reading) map[string]string {
	d := map[string]string{"store": string(reading.Store), "sequence": strconv.FormatUint(reading.Sequence, 10)}
	for i, slot := range reading.Slots {
		d["slot-"+strconv.Itoa(i)] = slotText(slot)
	}
	if reading.Err != nil {
		d["error"] = reading.Err.Error()
	}
	return d
}

func slotText(s record.SlotInfo) string {
	text := string(s.State) + ", sequence " + strconv.FormatUint(s.Sequence, 10)
	if s.Bound {
		text += ", with a MAC"
	}
	if s.Err != nil {
		text += ": " + s.Err.Error()
	}
	return text
}

// Diagnose implements bus.Reporter. It takes no longer than the question to the
// account service, which is asked beside the rest.
func (r *report) Diagnose(ctx context.Context, ask bool) []bus.Check {
	service := make(chan bus.Check, 1)
	go func() { service <- r.checkService(ctx, ask) }()
	reading := r.store.Read()
	out := []bus.Check{r.checkConfig(), r.checkRecord(reading), r.checkState(), r.checkTier(reading), r.checkClock(ctx)}
	out = append(out, r.checkNetwork(r.parts.around.Network(ctx))...)
	return append(out, <-service)
}

func (r *report) checkConfig() bus.Check {
	switch {
	case !r.Config.Provisioned():
		return bus.Check{Name: "configuration", Result: "warning", Message: "No account service is configured, so this device has no lock."}
	case r.serviceErr != nil:
		return bus.Check{Name: "configuration", Result: "failed", Message: r.serviceErr.Error()}
	}
	return bus.Check{Name: "configuration", Result: "ok", Message: "The account service is configured.", Details: map[string]string{"url": r.Config.AccountAPI.URL}}
}

const remedyUnwritable = "Mount what the record store is on for writing, and let the user accountlock write there ([record] store)."

func (r *report) checkRecord(reading record.Reading) bus.Check {
	c := bus.Check{Name: "record", Details: r.recordDetails(reading)}
	if reading.Store == lock.StoreValid || reading.Store == lock.StoreBlank {
		// Only writing finds that out, or the owner whose right password then opens nothing.
		if err := r.store.Writable(); err != nil {
			c.Result, c.Details["remedy"] = "failed", remedyUnwritable
			c.Message = "The lock record cannot be written: " + err.Error() + ". " + remedyUnwritable
			return c
		}
	}
	switch {
	case !reading.TPM.Vouched() && reading.Store == lock.StoreValid:
		c.Result, c.Message = "failed", "The lock record cannot be used: "+reading.TPM.Rule()+"."
	case reading.Store == lock.StoreValid && !reading.OneCopy:
		c.Result, c.Message = "ok", "The lock record is whole."
	case reading.Store == lock.StoreValid:
		c.Result, c.Message = "warning", "One of the lock record's two copies is damaged; the next change of ownership mends it."
	case reading.Store == lock.StoreBlank:
		c.Result, c.Message = "ok", "The record store is there and blank."
	default:
		c.Result, c.Message = "failed", "The lock record cannot be used: the store is "+string(reading.Store)+"."
	}
	return c
}

func (r *report) checkState() bus.Check {
	dir := r.Config.State.Directory
	st, err := os.Stat(dir)
	switch {
	case err != nil:
		return bus.Check{Name: "state directory", Result: "failed", Message: fmt.Sprintf("It cannot be used: %v.", err)}
	case st.Mode().Perm()&0o077 != 0:
		return bus.Check{Name: "state directory", Result: "warning", Message: dir + " can be entered by others than the daemon's user."}
	case unix.Access(dir, unix.W_OK) != nil:
		return bus.Check{Name: "state directory", Result: "failed", Message: dir + " cannot be written."}
	}
	return bus.Check{Name: "state directory", Result: "ok", Message: "It can be read and written.", Details: map[string]string{"directory": dir}}
}
