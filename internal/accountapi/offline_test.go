// SPDX-License-Identifier: Apache-2.0

package accountapi_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
)

func pair(t *testing.T) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBothSidesComeToTheSameOfflineKey(t *testing.T) {
	device, service := pair(t), pair(t)
	a := accountapi.Agreement{
		DeviceID: "7K2M-0QXA-9TBD", LinkID: "link-1",
		Device: accountapi.OfflinePublic(device), Service: accountapi.OfflinePublic(service),
	}
	one, err := a.Key(device)
	if err != nil {
		t.Fatal(err)
	}
	two, err := a.Key(service)
	if err != nil || !bytes.Equal(one, two) || len(one) != 32 {
		t.Fatalf("%x %x %v", one, two, err)
	}
	for name, other := range map[string]accountapi.Agreement{
		"another link":   {DeviceID: a.DeviceID, LinkID: "link-2", Device: a.Device, Service: a.Service},
		"another device": {DeviceID: "7K2M-0QXA-9TBE", LinkID: a.LinkID, Device: a.Device, Service: a.Service},
	} {
		if key, err := other.Key(device); err != nil || bytes.Equal(key, one) {
			t.Errorf("%s gives the same key (%v)", name, err)
		}
	}
}

func TestAPublicKeyThatIsNoneIsRefused(t *testing.T) {
	device := pair(t)
	for name, public := range map[string]string{
		"nothing": "", "no base64": strings.Repeat("!", 43), "too short": "AAAA",
		"the point that gives all the same secret": base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
	} {
		a := accountapi.Agreement{Device: accountapi.OfflinePublic(device), Service: public}
		if _, err := a.Key(device); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
