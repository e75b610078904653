// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the thief's own tool

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
)

func TestAForgedRowInTheJournalOpensNothing(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	r.Reset()
	r.run("Unlock") // so that the journal is there
	r.run("SignOut")
	r.run("Link")
	r.StopDaemon()
	if err := os.Remove(r.Path("wiped/reset-marker")); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+r.Path("wiped/journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"foo", ""} {
		_, err = db.Exec(`INSERT INTO operations (flow_id, kind, link_id, begun_at) VALUES ('AAAAAAAAAAAAAAAAAAAAAA' || ?, 'link', ?, 0)`, id, id)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r.StartDaemon()
	r.wantState("locked factory-reset")
	r.settle()
	r.wantState("locked factory-reset")
}

func TestAReleasedDeviceOpensAlthoughAStrangerEnrolledItsSerial(t *testing.T) {
	r := newRig(t)
	r.run("Link")
	r.Reset()
	r.wantState("locked factory-reset")
	id := r.Property("DeviceId").Value().(string)
	r.StopDaemon()
	r.admin("device", "release", id)
	ca, err := os.ReadFile(filepath.Join(r.Path("service"), "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	serial, err := os.ReadFile(r.Path("serial"))
	if err != nil {
		t.Fatal(err)
	}
	stranger := apitest.NewDevice("https://127.0.0.1:"+r.port, apitest.Client(ca))
	stranger.Enrol(t, apitest.Identity(accountapi.File, strings.TrimSpace(string(serial))))
	r.StartDaemon()
	r.wantState("unlinked")
	r.run("Link")
	r.wantState("linked")
}
