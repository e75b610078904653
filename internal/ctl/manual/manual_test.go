// SPDX-License-Identifier: Apache-2.0

package manual_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/ctl"
	"github.com/accountlock/accountlock/internal/ctl/manual"
)

const packaging = "../../../packaging"

func TestTheCommittedPagesAndCompletionsAreFresh(t *testing.T) {
	files, err := manual.Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(packaging, name))
		if err != nil {
			t.Errorf("%v (run go generate ./internal/ctl)", err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("packaging/%s is stale (run go generate ./internal/ctl)", name)
		}
	}
	for _, pattern := range []string{"man/accountlockctl*", "completions/*/*accountlockctl*"} {
		committed, err := filepath.Glob(filepath.Join(packaging, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range committed {
			name, err := filepath.Rel(packaging, path)
			if err != nil {
				t.Fatal(err)
			}
			if files[name] == nil {
				t.Errorf("packaging/%s is of a command that is no longer there", name)
			}
		}
	}
}

func TestThePageOfTheProgramListsEveryExitCode(t *testing.T) {
	files, err := manual.Files()
	if err != nil {
		t.Fatal(err)
	}
	page := string(files["man/accountlockctl.1"])
	if len(ctl.ExitMeanings()) != ctl.ExitUnknown+1 {
		t.Errorf("%d exit codes are explained", len(ctl.ExitMeanings()))
	}
	for _, want := range []string{".SH EXIT STATUS", "\\fB11\\fP", ".SH ENVIRONMENT", "accountlockd(8)", "accountlockctl-unlock(1)"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestThePagesHaveNoErrorsForGroff(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("needs groff")
	}
	pages, err := filepath.Glob(filepath.Join(packaging, "man", "*.[18]"))
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages", err)
	}
	for _, page := range pages {
		out, err := exec.Command(groff, "-man", "-Tutf8", "-ww", "-z", "-K", "utf-8", page).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
}
