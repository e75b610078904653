// SPDX-License-Identifier: Apache-2.0

package device_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/device"
)

func TestHardwareIsRecognised(t *testing.T) {
	s := apitest.Start(t)
	enrol := func(d *apitest.Device, ids ...string) accountapi.EnrolResponse {
		t.Helper()
		var all []accountapi.Identity
		for _, id := range ids {
			source, value, _ := strings.Cut(id, ":")
			all = append(all, apitest.Identity(accountapi.IdentitySource(source), value))
		}
		return d.Enrol(t, all...)
	}
	fresh := func() *apitest.Device { return apitest.NewDevice(s.URL, apitest.Client(s.CA)) }

	a := fresh()
	first := enrol(a, "tpm:a", "dmi:a")
	t.Run("by the same names", func(t *testing.T) {
		if got := enrol(a, "tpm:a", "dmi:a"); got != first {
			t.Errorf("got %+v, want %+v", got, first)
		}
	})
	t.Run("by one of them, in conflict with another", func(t *testing.T) {
		if got := enrol(a, "tpm:a", "dmi:another board"); got.DeviceId != first.DeviceId {
			t.Errorf("got %+v", got)
		}
		b := fresh()
		if got := enrol(b, "dmi:another board"); got.DeviceId != first.DeviceId {
			t.Errorf("the new name of the device is another device: %+v", got)
		}
		a.Key = b.Key // the device without owner took b's key
	})
	t.Run("by its key where every name has changed", func(t *testing.T) {
		moved := *a
		moved.Serial = "a serial that nobody knows"
		s.Link(t, a, s.Owner)
		if got := enrol(&moved); got.DeviceId != first.DeviceId || got.KeyStatus != accountapi.Active {
			t.Errorf("got %+v, want %s: a linked device became one that is free", got, first.DeviceId)
		}
	})
	t.Run("as the linked one of two", func(t *testing.T) {
		other := fresh()
		enrol(other, "devicetree:other")
		hybrid := fresh()
		if got := enrol(hybrid, "devicetree:other", "tpm:a"); got.DeviceId != first.DeviceId || got.KeyStatus != accountapi.Pending {
			t.Errorf("got %+v, want %s, pending", got, first.DeviceId)
		}
	})
	t.Run("and not by the same value of another source", func(t *testing.T) {
		c := fresh()
		if got := enrol(c, "file:a"); got.DeviceId == first.DeviceId {
			t.Error("a file's content is taken for a TPM")
		}
	})
	t.Run("with at most four keys that wait", func(t *testing.T) {
		for range 6 {
			s.Clock.Advance(time.Second)
			enrol(fresh(), "tpm:a")
		}
		got, err := s.Devices.Show(t.Context(), first.DeviceId)
		if err != nil || got.PendingKeys != 4 {
			t.Errorf("%d keys wait (%v), want 4", got.PendingKeys, err)
		}
	})
}

func TestWhatAnOwnerMaySayOfALostDevice(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	if _, err := s.Devices.Lose(t.Context(), d.ID, "", ""); fault.CodeOf(err) != fault.NotLinked {
		t.Errorf("a free device: %v", err)
	}
	if _, err := s.Devices.Lose(t.Context(), "0000-0000-0000", "", ""); fault.CodeOf(err) != fault.DeviceUnknown {
		t.Errorf("a device that is not there: %v", err)
	}
	s.Link(t, d, s.Owner)
	if _, err := s.Devices.Find(t.Context(), d.ID); fault.CodeOf(err) != fault.InvalidArgument {
		t.Errorf("found without being lost: %v", err)
	}
	for name, c := range map[string]struct {
		message, contact string
		want             fault.Code
	}{
		"as long as may be":        {strings.Repeat("é", device.MaxLostMessage), strings.Repeat("é", device.MaxLostContact), ""},
		"a message that is longer": {strings.Repeat("é", device.MaxLostMessage+1), "", fault.InvalidArgument},
		"a contact that is longer": {"", strings.Repeat("é", device.MaxLostContact+1), fault.InvalidArgument},
		"what is not UTF-8":        {"\xff", "", fault.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Devices.Lose(t.Context(), d.ID, c.message, c.contact); fault.CodeOf(err) != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheListOfEventsIsBounded(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	for batch := range 11 {
		events := make([]device.Event, 100)
		for i := range events {
			events[i] = device.Event{Kind: "started", At: time.Unix(int64(batch*100+i), 0), Detail: fmt.Sprint(i)}
		}
		for range 2 { // a report that is repeated counts once
			if err := s.Devices.Report(t.Context(), d.ID, fmt.Sprintf("batch %d", batch), events); err != nil {
				t.Fatal(err)
			}
		}
	}
	events, err := s.Devices.Events(t.Context(), d.ID, 5000)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 1000 || events[0].At.Unix() != 1099 || events[999].At.Unix() != 100 {
		t.Errorf("%d events from %v to %v, want the newest 1000", len(events), events[len(events)-1].At, events[0].At)
	}
}

func TestAnOwnerSeesWhatHappenedSinceTheDeviceWasLinked(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	s.Link(t, d, s.Owner)
	report := []device.Event{{Kind: "started", At: time.Unix(1, 0), Detail: "of the owner before"}}
	if err := s.Devices.Report(t.Context(), d.ID, "before", report); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Devices.Owned(s.Owner.ID).Release(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	s.Link(t, d, s.Stranger)
	if _, err := s.Devices.Owned(s.Owner.ID).Events(t.Context(), d.ID, 10); fault.CodeOf(err) != fault.DeviceUnknown {
		t.Errorf("the owner before: got %v", err)
	}
	if _, err := s.Devices.Owned(s.Stranger.ID).Lose(t.Context(), d.ID, "", ""); err != nil {
		t.Fatal(err)
	}
	events, err := s.Devices.Owned(s.Stranger.ID).Events(t.Context(), d.ID, 10)
	if err != nil || len(events) != 2 || events[0].Kind != string(device.Lose) || events[1].Kind != string(device.Commit) {
		t.Errorf("the owner of now: got %v, %v", events, err)
	}
	if all, err := s.Devices.Events(t.Context(), d.ID, 10); err != nil || len(all) != 5 {
		t.Errorf("support: got %v, %v", all, err)
	}
}
