// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/accountlock/accountlock/test/device"
)

func TestAFlowSpeaksTheLanguageThatItWasBegunIn(t *testing.T) {
	t.Parallel()
	r := locked(t)
	var path dbus.ObjectPath
	if err := r.Call("Unlock", map[string]dbus.Variant{"locale": dbus.MakeVariant("de_DE.UTF-8")}).Store(&path); err != nil {
		t.Fatal(err)
	}
	c := &conversation{&device.Flow{T: r.T, Obj: r.Conn.Object("org.accountlock.AccountLock1", path)}, r}
	if got := c.Prompt()["title"].Value(); got != "Dieses Gerät entsperren" {
		t.Errorf("the title is %q", got)
	}
	if got := c.Prompt()["text"].Value().(string); !strings.Contains(got, "Lassen Sie das Feld leer für d•••@example.org.") {
		t.Errorf("the text is %q", got)
	}
	if err := c.Submit(map[string]any{"identifier": ""}); err != nil {
		t.Fatal(err)
	}
	err := c.Submit(map[string]any{"password": []byte("falsch")})
	r.wantError(err, "InvalidCredentials")
	if !strings.Contains(err.Error(), "Passwort falsch") {
		t.Errorf("the error says %q", err)
	}
	var said struct {
		Name, Message, Remedy string
		Counted               bool
	}
	if err := c.Property("Error").Store(&said); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(said.Message, "Der Kontodienst sagt") || !strings.Contains(said.Message, "Versuche sind ohne Wartezeit.") || !strings.HasPrefix(said.Remedy, "Geben Sie beides noch einmal ein") {
		t.Errorf("the flow's Error: %+v", said)
	}
}
