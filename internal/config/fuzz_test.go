// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/config"
	"github.com/accountlock/accountlock/internal/fault"
)

// FuzzEtc puts anything under /etc beside a vendor's configuration, and in the
// one file of --config.
func FuzzEtc(f *testing.F) {
	f.Add([]byte(everything))
	root := tree(f, map[string]string{vendor: provisioning})
	want, err := config.LoadLayers(root, nil)
	must(f, err)
	f.Fuzz(func(t *testing.T, text []byte) {
		path := put(t, filepath.Join(root, local), string(text))
		c, err := config.LoadLayers(root, nil)
		must(t, err)
		notWeaker(t, c, want)
		if _, err := config.Load(path, nil); (err == nil) == slices.ContainsFunc(c.Warnings, func(w config.Warning) bool { return w.Key == "" }) {
			// Only a service without keys is right as a part and wrong as a whole.
			if fault.As(err) == nil || !strings.Contains(err.Error(), "key_set: required") {
				t.Fatalf("alone %v, beside the vendor's %v", err, c.Warnings)
			}
		}
	})
}
