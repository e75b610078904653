// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"bytes"
	_ "embed" // for the configuration's template
	"encoding/xml"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"text/template"
)

//go:embed bus.conf.tmpl
var configTemplate string

// writeConfig writes dbus-daemon's configuration and returns its path. Module
// is the folder of the project, whose policy is included.
func (b *Bus) writeConfig(module string) (string, error) {
	owner := strconv.Itoa(b.settings.owner)
	policy := filepath.Join(b.dir, "policy.conf")
	if err := writePolicy(filepath.Join(module, "packaging/dbus", Name+".conf"), policy, owner); err != nil {
		return "", err
	}
	services := filepath.Join(b.dir, "services")
	for name, command := range b.settings.activation {
		if err := writeService(services, name, command); err != nil {
			return "", err
		}
	}
	var names []string
	for _, name := range b.settings.names {
		names = append(names, escape(name))
	}
	config, err := template.New("bus.conf").Parse(configTemplate)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	err = config.Execute(&text, map[string]any{
		"Socket":   escape(b.socket()),
		"Services": escape(services),
		"Policy":   escape(policy),
		"Owner":    owner,
		"Names":    names,
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.dir, "bus.conf")
	return path, os.WriteFile(path, text.Bytes(), 0o644)
}

// writePolicy copies the project's policy with the owner in the place of the
// user that only an installed system has. dbus-daemon would pass over the rules
// of a user it does not know, so a policy that names another is an error.
func writePolicy(from, to, owner string) error {
	policy, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	user := []byte(`user="accountlock"`)
	if n := bytes.Count(policy, user); n != 1 {
		return fmt.Errorf("%s has %s %d times, not once", from, user, n)
	}
	policy = bytes.Replace(policy, user, []byte(`user="`+owner+`"`), 1)
	return os.WriteFile(to, policy, 0o644)
}

// writeService writes the file by which the bus starts a service itself.
func writeService(dir, name, command string) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	text := fmt.Sprintf("[D-BUS Service]\nName=%s\nExec=%s\nUser=%s\n", name, command, me.Username)
	return os.WriteFile(filepath.Join(dir, name+".service"), []byte(text), 0o644)
}

func escape(text string) string {
	var out bytes.Buffer
	xml.EscapeText(&out, []byte(text)) //nolint:errcheck // a buffer takes everything
	return out.String()
}
