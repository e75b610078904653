// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/service/restore"
)

func TestAFolderFromABackupIsMadeFitToBeServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	who := demo(t, dir)
	d := p.device(t, dir)
	linkWith(t, d, who.Email, who.Password)
	before := claimsOf(t, statement(t, d))
	if code := p.stop(t); code != 0 {
		t.Fatal(p.out)
	}
	out, errs, code := runTo(t, "after-restore", "--data", dir, "--json")
	if code != 0 || !strings.Contains(out, `"links": 1`) {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	p = start(t, "dev", "--data", dir, "--listen", "127.0.0.1:0")
	d.URL, d.Nonce = p.url, ""
	after := claimsOf(t, statement(t, d))
	if after.Link.Id != before.Link.Id || after.Link.Generation != before.Link.Generation+restore.Ahead || *after.Status != *before.Status {
		t.Errorf("%+v, then %+v", before.Link, after.Link)
	}
	if out, _, code := runTo(t, "support", "audit", "--verify", "--data", dir); code != 0 || !strings.Contains(out, "whole") {
		t.Errorf("the audit trail: %d %s", code, out)
	}
	if out, _, _ := runTo(t, "support", "audit", "--data", dir); !strings.Contains(out, "after-restore") {
		t.Errorf("it is not noted: %s", out)
	}
	if _, errs, code := runTo(t, "after-restore", "--data", filepath.Join(dir, "nothing")); code != 2 {
		t.Errorf("a folder that is none: %d %s", code, errs)
	}
}
