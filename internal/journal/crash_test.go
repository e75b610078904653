// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/journal"
)

// Roles of the test's own program, started once more.
const (
	roleWriter   = "writer"
	roleFull     = "full"
	roleTiny     = "full from the start"
	roleReadOnly = "read-only"
)

const exitSkipped = 77

// start returns a command that plays a role in dir.
func start(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "JOURNAL_TEST_ROLE="+role, "JOURNAL_TEST_DIR="+dir)
	return cmd
}

func child(role, dir string) int {
	j := journal.New(dir, at, slog.Default())
	switch role {
	case roleWriter:
		return writer(j)
	case roleFull:
		return onTmpfs(dir, "size=256k", func() error { return fillUp(j, dir) })
	case roleTiny:
		return onTmpfs(dir, "size=64k", func() error { return fillUp(j, dir) })
	case roleReadOnly:
		return onTmpfs(dir, "size=1m", func() error { return readOnly(j, dir) })
	}
	return 2
}

// writer begins operations and ends every third one, and says so afterwards.
func writer(j *journal.Journal) int {
	for i := 0; ; i++ {
		if err := j.Begin(context.Background(), op(i)); err != nil {
			fmt.Println("failed", err)
			return 1
		}
		fmt.Println("begun", op(i).FlowID)
		if i%3 == 0 {
			if err := j.End(context.Background(), op(i).FlowID, "done"); err != nil {
				fmt.Println("failed", err)
				return 1
			}
			fmt.Println("ended", op(i).FlowID)
		}
	}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	for round := range 12 {
		dir := t.TempDir()
		cmd := start(t, roleWriter, dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		want := map[string]string{}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			word, id, _ := strings.Cut(lines.Text(), " ")
			if word == "failed" {
				t.Fatal(lines.Text())
			}
			want[id] = word
			if n == 1+7*round {
				must(t, cmd.Process.Signal(syscall.SIGKILL))
			}
		}
		_ = cmd.Wait() // it was killed
		if len(want) == 0 {
			t.Fatal("nothing was acknowledged")
		}
		j := open(t, dir)
		must(t, j.Note(t.Context(), "state", "after the kill"))
		must(t, j.Close())
		got := map[string]bool{}
		for _, id := range query[string](t, dir, `SELECT flow_id FROM operations`) {
			got[id] = true
		}
		over := map[string]bool{}
		for _, id := range query[string](t, dir, `SELECT flow_id FROM operations WHERE outcome <> ''`) {
			over[id] = true
		}
		for id, word := range want {
			if !got[id] || (word == "ended" && !over[id]) {
				t.Errorf("round %d: %s was %s, and is not", round, id, word)
			}
		}
		if len(got) > len(want)+1 {
			t.Errorf("round %d: %d operations, %d acknowledged", round, len(got), len(want))
		}
		if ok := query[string](t, dir, "PRAGMA integrity_check"); ok[0] != "ok" {
			t.Errorf("round %d: %q", round, ok)
		}
	}
}

// onTmpfs runs do with a small filesystem of its own at dir; the mount ends with
// the process, whose mounts are private.
func onTmpfs(dir, options string, do func() error) int {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err == nil {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, options)
	}
	if err != nil {
		fmt.Println("cannot mount:", err)
		return exitSkipped
	}
	if err := do(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func fillUp(j *journal.Journal, dir string) error {
	ctx := context.Background()
	var err error
	acknowledged := 0
	for ; err == nil && acknowledged < 10000; acknowledged++ {
		err = j.Note(ctx, "state", strings.Repeat("x", 400))
	}
	if fault.CodeOf(err) != fault.StorageFailed {
		return fmt.Errorf("after %d lines: %w", acknowledged, err)
	}
	if err := j.Begin(ctx, op(1)); err != nil && fault.CodeOf(err) != fault.StorageFailed {
		return err
	}
	// One that could not even be made holds nothing to read.
	if _, err := j.Pending(ctx); err != nil && acknowledged > 1 {
		return fmt.Errorf("a full journal cannot be read: %w", err)
	}
	if _, err := os.Stat(j.Path() + ".damaged"); err == nil {
		return errors.New("a full disk was taken for damage")
	}
	// Space comes back, and so does the journal.
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=1m"); err != nil {
		return err
	}
	return j.Begin(ctx, op(2))
}

func readOnly(j *journal.Journal, dir string) error {
	ctx := context.Background()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	if err := j.Begin(ctx, op(1)); fault.CodeOf(err) != fault.StorageFailed || !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("begin, with nothing there: %w", err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, ""); err != nil {
		return err
	}
	if err := errors.Join(j.Begin(ctx, op(1)), j.Close()); err != nil {
		return err
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	for what, err := range map[string]error{"begin": j.Begin(ctx, op(2)), "note": j.Note(ctx, "state", "")} {
		if fault.CodeOf(err) != fault.StorageFailed {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "journal.db.damaged")); err == nil {
		return errors.New("a read-only disk was taken for damage")
	}
	return nil
}

func TestADiskThatTakesNothingIsSaidSo(t *testing.T) {
	for _, role := range []string{roleFull, roleTiny, roleReadOnly} {
		t.Run(role, func(t *testing.T) {
			cmd := start(t, role, t.TempDir())
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if errors.Is(err, syscall.EPERM) || (errors.As(err, &exit) && exit.ExitCode() == exitSkipped) {
				t.Skipf("no mounts of its own here: %v %s", err, out)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
