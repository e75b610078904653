// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

func TestAnotherVersionIsNoPageOfThePortal(t *testing.T) {
	s := apitest.Start(t)
	resp, err := apitest.Client(s.CA).Get(s.URL + "/v2/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p accountapi.Problem
	err = json.NewDecoder(resp.Body).Decode(&p)
	if err != nil || resp.StatusCode != http.StatusNotFound || p.Versions == nil || resp.Header.Get("Content-Type") != accountapi.ProblemMediaType {
		t.Errorf("got %d, %s, %+v, %v", resp.StatusCode, resp.Header.Get("Content-Type"), p, err)
	}
}

func TestAnotherVersionIsAnsweredWithTheVersionsThatAreServed(t *testing.T) {
	s := apitest.Start(t)
	for path, other := range map[string]bool{
		"/v2/flows": true, "/v0/keys": true, "/v10/devices": true, "/v1/nothing": false, "/version/x": false, "/": false,
	} {
		resp, err := apitest.Client(s.CA).Post(s.URL+path, "application/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		var p accountapi.Problem
		err = json.NewDecoder(resp.Body).Decode(&p)
		resp.Body.Close()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !other {
			if p.Versions != nil {
				t.Errorf("%s: got the versions %v", path, *p.Versions)
			}
			continue
		}
		if resp.StatusCode != http.StatusNotFound || p.Type != accountapi.ProblemType+string(fault.ServiceUnavailable) || p.Versions == nil || !p.ServesUs() {
			t.Errorf("%s: got %d %+v", path, resp.StatusCode, p)
		}
	}
}
