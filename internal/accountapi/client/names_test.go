// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi/client"
)

func TestNamesThatTheServiceGivesHaveTheFormOfTheDocument(t *testing.T) {
	for name, want := range map[string]bool{
		"H8K8-RSK1-DBZ7": true, "0000-0000-0000": true,
		"": false, "H8K8-RSK1": false, "H8K8-RSK1-DBZ7-AAAA": false, "H8K8-RSK1-DBZ": false, "H8K8-RSKI-DBZ7": false,
		"h8k8-rsk1-dbz7": false, "H8K8-RSK1-DBZ7\n": false, "../..-RSK1-DBZ7": false, "H8K8--DBZ7": false,
	} {
		if got := client.IsDeviceName(name); got != want {
			t.Errorf("%q is a device ID: %v", name, got)
		}
	}
	for name, want := range map[string]bool{
		"a": true, "Zz-_09": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "a/b": false, "a\n": false, " a": false, "ä": false, "a b": false,
	} {
		if got := client.IsToken(name); got != want {
			t.Errorf("%q is a token: %v", name, got)
		}
	}
}
