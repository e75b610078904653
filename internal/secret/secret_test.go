// SPDX-License-Identifier: Apache-2.0

package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/secret"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	type holder struct{ Password secret.Bytes }
	s := secret.Bytes("hunter2-hunter2")
	h := holder{s}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "s", s, "h", h)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s, "h", h, "p", &h)
	js, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(js) + fmt.Sprint(s, h, &h) + fmt.Sprintf("%v %+v %#v %s %q %x", s, h, h, s, s, h)
	if strings.Contains(all, "hunter2") || strings.Contains(all, "68756e74657232") {
		t.Fatalf("secret printed: %s", all)
	}
}

func TestWipeClearsTheSharedBytes(t *testing.T) {
	raw := []byte("password")
	secret.Bytes(raw).Wipe()
	if !bytes.Equal(raw, make([]byte, 8)) {
		t.Fatalf("left %q", raw)
	}
}

func TestEqual(t *testing.T) {
	s := secret.Bytes("abc")
	if !s.Equal([]byte("abc")) || s.Equal([]byte("abd")) || s.Equal([]byte("abcd")) {
		t.Fatal("Equal is wrong")
	}
}
