// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/accountlock/accountlock/internal/service/files"
)

func TestFilesAreReplacedWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, text := range []string{"one", "another one"} {
		if err := files.Write(path, []byte(text), files.Private); err != nil {
			t.Fatal(err)
		}
		if b, err := files.Read(path, 100); err != nil || string(b) != text {
			t.Errorf("got %q, %v; want %q", b, err, text)
		}
	}
	if err := files.Create(path, []byte("a third"), files.Private); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file: %v", err)
	}
	if b, err := files.Read(path, 100); err != nil || string(b) != "another one" {
		t.Errorf("after the refusal: %q, %v", b, err)
	}
	if err := files.Create(path+"2", []byte("a third"), files.Public); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 {
		t.Errorf("what is left: %v, %v", entries, err)
	}
	for name, mode := range map[string]fs.FileMode{path: files.Private, path + "2": files.Public} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestWhatIsNotRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, make([]byte, 11), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Read(path, 10); err == nil {
		t.Error("a file that is too large was read")
	}
	if _, err := files.Read(dir, 10); err == nil {
		t.Error("a folder was read")
	}
	if _, err := files.Read(path+"x", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := files.Write(filepath.Join(dir, "no", "f"), nil, files.Private); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
