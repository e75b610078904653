// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"testing"
)

func decode(t testing.TB, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
}
